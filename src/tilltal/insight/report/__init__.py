"""The report: one HTML page about all customers, for people who plan marketing.

`gather` turns the tables of a snapshot into `data`, `page.render` turns that into HTML. Nothing here reads or
writes files: `runtime.answers.report` does.
"""
