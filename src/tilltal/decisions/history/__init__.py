"""What a customer's past contacts and their outcomes mean for the next decision.

`influences` raise or lower L after outcomes; `readings` gives them and the names of `history.` for one
customer, `batch` for all.
"""
