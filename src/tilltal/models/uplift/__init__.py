"""Uplift: what an action changes, not what happens anyway; from experiments, and honest.

Begin with `train.train_uplift`. One learner a file; `qini` measures them on customers they have not seen.
"""
