"""Engines: adapters to databases and engines, each filling a port of `core.ports`; imported by runtime only."""
