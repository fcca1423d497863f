"""Demo: a simulated Nordic bank with known truth, for the demo and for tests. Not real data of anybody."""
