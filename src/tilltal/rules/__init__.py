"""Rules: the expression dialect: parse and type-check once, then emit SQL text or a Python function. No I/O. Begin with `expression`."""
