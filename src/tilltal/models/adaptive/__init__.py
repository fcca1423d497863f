"""Propensities that learn from every response: sums of what each says, so that a late answer revises exactly.

Pure. Begin with `model`, the face of the methods, and `team`, all that learns for one action and channel;
`serving` asks many at once, `outcomes` says what an impression came to, `report` how they do.
"""
