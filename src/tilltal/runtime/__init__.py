"""Settings, engines and services put together; the only place that opens files and engines.

`intake` takes files in, `refresh` computes everything anew, `answers` reads what it made, `cases` tests
definitions, `storage` keeps it all. Begin with `refresh.run`.
"""
