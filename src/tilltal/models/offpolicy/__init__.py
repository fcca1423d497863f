"""Off-policy evaluation: what another policy would have earned, from decisions that were logged.

Begin with `evaluation.evaluate`. One estimator a file; `overlap` says when the logs cannot answer.
"""
