"""What it led to: KPIs and the report.

Not what to do next: see `decisions`.
"""
