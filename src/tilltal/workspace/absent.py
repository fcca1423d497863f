"""What files that cannot be read may define: names that must not be called unknown while they are mended."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable

from tilltal.workspace import layout

_IDS = {"audiences": "audience", "models": "model", "actions": "action", "sources": "record source"}
_NAMED = {
    "sources": ("event type", "field", "product"),
    "actions": ("group", "issue"),
    "identity.yaml": ("namespace",),
    layout.SETTINGS: ("channel", "language"),
    "policies/consent.yaml": ("purpose",),
}
# Heads of the profile's names, or names, that a file or folder gives.
_HEADS = {
    "sources": ("holding", "holdings", "leading_product"),
    "lifecycle.yaml": ("lifecycle",),
    "value.yaml": ("value",),
    "personas.yaml": ("persona",),
    layout.SETTINGS: ("consent",),
    "policies/consent.yaml": ("consent",),
    "policies/engagement.yaml": ("context",),
    "policies/contact.yaml": ("history",),
    "actions": ("history",),
}


def may_define(faulty: Iterable[str], what: str, name: str) -> bool:
    """True if one of the faulty files may define `name`, a `what` as faults call it.

    `what` is `name` for what expressions over a profile may name. An id is known from the file's path, also
    where nothing of the file can be read.

    >>> [may_define(["traits/spend.yaml"], "name", name) for name in ("spend", "spend_30d", "age")]
    [True, True, False]
    """
    return any(_defines(file, what, name) for file in faulty)


def may_fit(faulty: Iterable[str], pattern: str) -> bool:
    """True if one of the faulty files may define a name of the profile that fits the pattern.

    >>> may_fit(["audiences/vip.yaml"], "audience.v*"), may_fit(["audiences/vip.yaml"], "spend_*")
    (True, False)
    """
    return any(_fits(file, pattern) for file in faulty)


def _defines(file: str, what: str, name: str) -> bool:
    owner, stem = _owner(file), _stem(file)
    if owner is None:
        return True
    if what == "name":
        return _is_of_profile(owner, stem, name)
    return what in _NAMED.get(owner, ()) or (_IDS.get(owner) == what and name == stem)


def _is_of_profile(owner: str, stem: str, name: str) -> bool:
    head, dot, _ = name.partition(".")
    if owner == "traits":
        return name == stem or (not dot and name.startswith(f"{stem}_"))
    if owner == "sources":
        return not dot or head in _HEADS[owner]
    if owner in ("audiences", "models"):
        return name == f"{_head(owner)}.{stem}"
    return head in _HEADS.get(owner, ())


def _fits(file: str, pattern: str) -> bool:
    owner, stem = _owner(file), _stem(file)
    if owner is None:
        return True
    if owner in ("audiences", "models"):
        return "." in pattern and fnmatch.fnmatchcase(f"{_head(owner)}.{stem}", pattern)
    if owner == "traits":
        begin = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
        made = f"{stem}_"
        return "." not in pattern and (begin.startswith(made) or made.startswith(begin))
    if owner == "sources" and "." not in pattern:
        return True
    return any(fnmatch.fnmatchcase(head, pattern.partition(".")[0]) for head in _HEADS.get(owner, ()))


def _head(owner: str) -> str:
    return "score" if owner == "models" else "audience"


def _owner(file: str) -> str | None:
    """Return the file, or the folder of files of its kind; None for what is no file of a workspace."""
    folder = file.partition("/")[0]
    if folder in layout.FOLDERS or folder == layout.ACTIONS:
        return folder if "/" in file else None
    return file if file in layout.FILES else None


def _stem(file: str) -> str:
    return file.split("/")[1].split(".")[0] if "/" in file else ""
