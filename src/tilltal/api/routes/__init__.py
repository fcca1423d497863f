"""The routes, a module per thing asked for. Begin with `decisions`."""
