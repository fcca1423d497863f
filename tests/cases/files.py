"""Reading case files: YAML as version 1.2 has it, so that `on`, `n` and dates stay text."""

from __future__ import annotations

import importlib
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, cast

import yaml
from tests.cases.report import Document, Runner, case_id

KINDS = ("identity", "audiences", "lifecycle", "arbitration", "contact_policy")
_KEYS = {"kind", "version", "part", "title", "note", "workspace_time_zone", "semantics", "defaults", "cases"}
_VERSION = 1


class CaseFileError(Exception):
    """A case file that cannot be run, with the reason."""


class _Loader(yaml.SafeLoader):
    """The safe loader without YAML 1.1's surprises and without repeated keys."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML reads it from the class
        letter: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":timestamp"))]
        for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse a key that stands twice: one of its values would be lost."""
        keys = [key.value for key, _ in node.value]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {', '.join(twice)} stands twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")
)


def read_document(path: Path) -> Document:
    """Read a case file and check its outer shape.

    Raises:
        CaseFileError: if it is no readable case file.
    """
    try:
        document = yaml.load(path.read_text("utf-8"), _Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CaseFileError(f"cannot be read: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("cases"), list):
        raise CaseFileError("is no case file: it needs `kind` and a list `cases`")
    _check_outer(document)
    return document


def _check_outer(document: Document) -> None:
    unknown = sorted(str(key) for key in document if key not in _KEYS)
    if unknown:
        raise CaseFileError(f"unknown keys {', '.join(unknown)}; known are {', '.join(sorted(_KEYS))}")
    if document.get("version", _VERSION) != _VERSION:
        raise CaseFileError(f"version {document['version']} is not supported; {_VERSION} is")
    if not document["cases"] or not all(isinstance(case, dict) for case in document["cases"]):
        raise CaseFileError("`cases` must be a list of mappings with at least one case")
    names = [case_id(case) for case in document["cases"]]
    if len(set(names)) < len(names):
        raise CaseFileError("two cases have the same id")


def runner_of(kind: object) -> Runner:
    """Return the module that runs a kind of cases.

    Raises:
        CaseFileError: if there is none.
    """
    if kind not in KINDS:
        raise CaseFileError(f"kind {kind!r} is not supported; supported are {', '.join(KINDS)}")
    name = f"tests.cases.{kind}"
    try:
        return cast("Runner", importlib.import_module(name))
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise CaseFileError(f"kind {kind} has no runner yet") from error
