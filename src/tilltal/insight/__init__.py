"""Insight: what it led to: KPIs and the report."""
