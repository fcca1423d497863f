"""What a source promises and what happens to rows that break the promise.

Builds SQL; reads nothing itself: see `runtime.intake.ingest`.
"""
