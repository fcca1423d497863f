"""From messages to states: contracts, pseudonyms, identity, one transaction per micro-batch.

Begin with `collecting`, then `applying`.
"""
