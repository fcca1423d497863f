"""When what is decided is sent: at the best allowed hour of a customer's own rhythm.

`slots` are the hours that are allowed, `choosing` takes the best of them for one customer, `batch` for all.
How rhythms are learned: `customers.rhythms`. Begin with `choosing`.
"""
