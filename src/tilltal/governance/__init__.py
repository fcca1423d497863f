"""Governance: who may know what: pseudonyms, the vault of direct identifiers, data-use labels. Begin with `pseudonyms`."""
