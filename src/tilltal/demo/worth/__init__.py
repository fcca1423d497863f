"""What each step is worth: six ways to choose contacts, side by side on the same customers and months.

The customers are those of the demo bank, who live on; only their answers are simulated. What the strategies
know and how they decide is the product's own code. Begin with `run`.
"""
