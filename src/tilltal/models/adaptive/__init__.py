"""Propensities that learn from every response: counts, so that a late answer revises exactly.

Pure. Begin with `model`; `table` asks many models at once, `outcomes` says what an impression came to.
"""
