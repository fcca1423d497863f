"""`python -m tests.cases FILE...`: run case files and show what differs.

Exit codes: 0 all cases hold; 1 a case differs; 2 a file cannot be read or its kind is not supported.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.cases.files import CaseFileError, read_document, runner_of
from tests.cases.report import Document, Mismatch, Runner, case_id, difference


def show(document: Document, mismatches: list[Mismatch]) -> int:
    """Print one line per case and the differences; return how many cases differ."""
    names = [case_id(case) for case in document["cases"]]
    titles = {case_id(case): str(case.get("title", "")) for case in document["cases"]}
    strays = sorted({mismatch.case for mismatch in mismatches} - set(names))
    failed = 0
    for name in names + strays:
        own = [mismatch for mismatch in mismatches if mismatch.case == name]
        failed += bool(own)
        print(f"{'DIFF' if own else 'ok  '}  {name}  {titles.get(name, '')}".rstrip())
        for mismatch in own:
            print("\n".join(difference(mismatch)))
    return failed


def run_file(path: Path) -> tuple[int, int]:
    """Run one file; return how many cases it holds and how many differ.

    Raises:
        CaseFileError: if the file cannot be read or its kind is not supported.
    """
    document = read_document(path)
    runner = runner_of(document["kind"])
    print(f"{path}: {document['kind']}, {len(document['cases'])} cases")
    return len(document["cases"]), show(document, _run(runner, document))


def _run(runner: Runner, document: Document) -> list[Mismatch]:
    """Run case by case, so that one that stops the runner does not hide the others."""
    found: list[Mismatch] = []
    for case in document["cases"]:
        try:
            found += runner.run({**document, "cases": [case]})
        except Exception as error:
            got = f"{type(error).__name__}: {error}"
            found.append(Mismatch(case=case_id(case), what="the runner stopped", got=got))
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the files named on the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.cases", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    cases = failed = unreadable = 0
    for path in parser.parse_args(arguments).files:
        try:
            count, differing = run_file(path)
        except CaseFileError as error:
            print(f"FILE  {path}: {error}")
            unreadable += 1
            continue
        cases, failed = cases + count, failed + differing
    print(f"{cases} cases, {cases - failed} ok, {failed} differ, {unreadable} files not run")
    return 2 if unreadable else int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
