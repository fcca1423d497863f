"""Acceptance cases: YAML files of a kind, one runner per kind. Begin with `__main__`."""
