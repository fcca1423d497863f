"""Linking without a common key: how alike two records are, and what that is worth. No I/O, no training.

Begin with `plan.LinkPlan`, what is compared; `candidates` answers for one record at a time.
"""
