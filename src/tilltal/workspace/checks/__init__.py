"""Whether definitions make sense together, one module per kind. Begin with `workspace.check`."""
