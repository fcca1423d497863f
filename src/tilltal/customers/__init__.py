"""Customers: who a customer is and what we remember: identity, profiles, traits, lifecycle, value, personas, audiences. Pure: builds SQL and Python functions, runs nothing."""
