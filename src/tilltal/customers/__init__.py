"""Who a customer is and what we remember of them.

Identity, profiles, traits, lifecycle, value, personas, audiences. Pure: builds SQL texts and Python
functions, runs nothing.
"""
