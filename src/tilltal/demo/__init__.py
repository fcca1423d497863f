"""A simulated Nordic bank with known truth, for the demo and for tests.

Nobody's real data.
"""
