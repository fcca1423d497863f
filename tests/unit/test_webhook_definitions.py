"""What is wrong with a webhook is told before a server begins to call it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilltal.workspace.check import check_folder

SOURCE = "kind: event\nread: {files: a.csv}\nidentities: {customer: id}\nevent: buy\nat: at\n"
AUDIENCES = ("savers", "lenders")


def faults(root: Path, webhook: str) -> list[str]:
    """Return the faults of a workspace with two audiences and one webhook."""
    for folder in ("sources", "audiences"):
        (root / folder).mkdir()
    (root / "sources/buys.yaml").write_text(SOURCE)
    (root / "tilltal.yaml").write_text(f"name: bank\nserver:\n  webhooks:\n    crm: {webhook}\n")
    for name in AUDIENCES:
        (root / f"audiences/{name}.yaml").write_text("condition: is_known\n")
    return [str(fault) for fault in check_folder(root)]


@pytest.mark.parametrize(
    "url",
    [
        "https://crm.example/tilltal",
        "http://127.0.0.1:8080/",
        "http://[::1]:9/hook?tenant=1",
        "HTTPS://user:word@crm.example",
        "https://måndag.example/",
    ],
)
def test_an_address_that_can_be_called_is_none(tmp_path: Path, url: str) -> None:
    assert faults(tmp_path, f"{{url: '{url}', secret: S, audiences: [savers, lenders]}}") == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "crm.example/tilltal",
        "ftp://crm.example/",
        "https://",
        "https:///tilltal",
        "http://:80/",
        "http://crm.example:port/",
        "http://crm.example:70000/",
        "http://crm.example:0/",
        "http://[::1/",
        "http://crm .example/",
        "file:///etc/hosts",
    ],
)
def test_an_address_that_nothing_can_call_is_a_fault(tmp_path: Path, url: str) -> None:
    (told,) = faults(tmp_path, f"{{url: '{url}', secret: S}}")
    assert "tilltal.yaml:4:16" in told
    assert "W139" in told
    assert repr(url) in told
    assert "https://crm.example" in told


def test_an_audience_that_is_none_is_a_fault_with_the_nearest(tmp_path: Path) -> None:
    (told,) = faults(tmp_path, "{url: 'https://crm.example', secret: S, audiences: [savres, lenders]}")
    assert "W130" in told
    assert "There is no audience 'savres'." in told
    assert "Valid: savers" in told, "the nearest first"


def test_an_audience_twice_is_a_fault(tmp_path: Path) -> None:
    (told,) = faults(tmp_path, "{url: 'https://crm.example', secret: S, audiences: [savers, savers]}")
    assert "W133" in told
