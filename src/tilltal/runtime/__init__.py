"""Settings, engines and services put together: ingest, refresh, decide, report.

The only place that opens files and engines. Begin with `refresh`.
"""
