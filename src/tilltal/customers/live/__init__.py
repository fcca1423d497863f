"""A customer's state, kept up event by event: fragments, their folds, and the values of a profile.

Pure: no I/O and no clock of its own. Begin with `profile`; the idea is told in docs/explanation/live.md.
"""
