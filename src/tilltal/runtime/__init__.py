"""Runtime: settings, engines and services put together: ingest, refresh, decide. The only place that opens files and engines."""
