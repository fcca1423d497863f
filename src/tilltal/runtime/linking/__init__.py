"""Linking in batch: read records, train and score with Splink, keep the queue, apply decisions.

Begin with `run.link`; `queue` and `verdicts` are what lies on disk.
"""
