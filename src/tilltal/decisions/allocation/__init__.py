"""Allocation: one best action per customer under capacities, budgets, households and minimum volumes.

Begin at `allocate.allocate`; `problem` says what goes in, `prices` puts what comes out into words. Values
come from arbitration; nothing here reads a file or asks an engine.
"""
