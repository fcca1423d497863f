"""What is stated of a customer rather than counted: records, answers on consent, holdings.

One module each; `pending` keeps facts whose time has not come.
"""
