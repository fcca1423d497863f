"""Operators and functions by family, with what computes them on each engine. Begin with `forms`."""
