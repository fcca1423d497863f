"""The shape of every kind of workspace file, one module per kind, all frozen.

Not how they are read: see `workspace.load`.
"""
