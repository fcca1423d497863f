"""Decisions: which action for whom: eligibility to arbitration, with reasons. Pure."""
