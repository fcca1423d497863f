"""Which action for whom, and why: from eligibility to arbitration.

Pure. Begin with `plan`; `single` decides for one customer, `batch` for all.
"""
