"""Every acceptance case at hand, and our own of the same format, one test per case."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tests.cases.files import CaseFileError, read_document, runner_of
from tests.cases.report import Document, case_id, difference

_BESIDE = Path(__file__).resolve().parents[2].parent / "shared"
FOLDER = Path(os.environ.get("TILLTAL_SHARED", str(_BESIDE))) / "cases"
OWN = Path(__file__).parent / "own"


def _supported() -> list[Document]:
    documents = []
    for path in sorted([*FOLDER.glob("*.yaml"), *OWN.glob("*.yaml")]):
        document = read_document(path)
        try:
            runner_of(document["kind"])
        except CaseFileError:
            continue
        documents.append(document)
    return documents


CASES = [
    pytest.param(document, case, id=f"{document['kind']}-{case_id(case)}")
    for document in _supported()
    for case in document["cases"]
]


def test_acceptance_cases_are_at_hand() -> None:
    if not FOLDER.is_dir():
        pytest.skip(f"no acceptance cases in {FOLDER}; set TILLTAL_SHARED")
    assert {document["kind"] for document in _supported()} >= {"identity"}


@pytest.mark.parametrize(("document", "case"), CASES)
def test_case(document: Document, case: dict[str, Any]) -> None:
    mismatches = runner_of(document["kind"]).run({**document, "cases": [case]})
    assert not mismatches, "\n".join(line for one in mismatches for line in difference(one))
