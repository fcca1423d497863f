"""Traits of one fragment: daily aggregates and single occurrences, read as of any clock.

Begin with `live_traits`.
"""
