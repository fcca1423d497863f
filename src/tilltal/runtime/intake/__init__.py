"""Intake: a bank's files and queries become history; what breaks its contract waits in quarantine.

Begin with `ingest`.
"""
