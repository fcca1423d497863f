"""What the two operational stores share: rows, steps of the schema, and how a store is opened.

The adapters are `tilltal.engines.sqlite` and `tilltal.engines.postgres`; begin at `opening.open_store`.
"""
