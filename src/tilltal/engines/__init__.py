"""Adapters to databases and engines; each fills a port of `core.ports`.

Imported by `runtime` only.
"""
