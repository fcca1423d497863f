"""What is answered: decisions, profiles, timelines, explanations; and what answers teach.

Begin with `deciding` and `answering`.
"""
