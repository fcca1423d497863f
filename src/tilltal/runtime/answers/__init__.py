"""Answers from the snapshot in force: decide anew, explain, key figures, the report.

Begin with `snapshot`. Computes nothing that a refresh computes.
"""
