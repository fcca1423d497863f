"""Between the log and Parquet: taking history over, moving the log out, asking both.

Begin with `taking_over` and `compaction`.
"""
