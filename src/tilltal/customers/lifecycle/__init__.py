"""Which stage of the relation a customer is in, when it changed, and why.

Begin with `stage` (one customer, in Python) and `plan` (all customers, in SQL). What to say to a customer
in a stage is not decided here: see `tilltal.decisions`.
"""
