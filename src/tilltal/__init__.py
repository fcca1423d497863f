"""Tilltal: the system that turns a bank's mass mailings into a personal dialogue.

Begin with `tilltal.cli.main` for what it does, `tilltal.workspace.definitions` for what it is told.
"""
