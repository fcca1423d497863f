"""The checked tree as Python code, and an index over many conditions. Begin with `coder`."""
