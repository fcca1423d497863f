"""When too many rows break their contract the source stops, and says why by the reasons met most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tilltal.core.errors import Fault, Place, SourceError
from tilltal.runtime.intake.prepare import Desk, Draft, rejected_rows
from tilltal.runtime.intake.quarantine import Rejected
from tilltal.workspace.definitions.sources import Source

_REASONS_SHOWN = 3


def refuse_too_many(
    desk: Desk, name: str, source: Source, files: Sequence[str], drafts: Sequence[Draft]
) -> None:
    """Refuse a source if more of its new rows than `max_rejects` break their contract.

    So does a file none of whose rows keeps it, however small beside the others: its form has changed.

    Raises:
        SourceError: S307, a fault for each file with rejected rows.
    """
    rows, rejected = sum(draft.rows for draft in drafts), sum(draft.rejected for draft in drafts)
    is_too_many = rejected > source.max_rejects * rows
    faults = [
        _fault(desk, name, source, file, draft, of_all=(rejected, rows))
        for file, draft in zip(files, drafts, strict=True)
        if draft.rejected and (is_too_many or _is_hopeless(source, draft))
    ]
    if faults:
        raise SourceError(*faults)


def _is_hopeless(source: Source, draft: Draft) -> bool:
    return draft.rejected == draft.rows and source.max_rejects < 1


def _fault(
    desk: Desk, name: str, source: Source, file: str, draft: Draft, *, of_all: tuple[int, int]
) -> Fault:
    rejected, rows = of_all
    counts: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], Rejected] = {}
    for row in rejected_rows(desk, draft):
        key = (row.reasons[0].code, row.reasons[0].role)
        counts[key] += 1
        first.setdefault(key, row)
    shown = "; ".join(
        f"{count:,} × {key[0]}, such as row {first[key].row}: {first[key].reasons[0]}"
        for key, count in counts.most_common(_REASONS_SHOWN)
    )
    return Fault(
        code="S307",
        message=f"{draft.rejected:,} of {draft.rows:,} rows break the contract of source {name} "
        f"({rejected / rows:.1%} of all new rows; max_rejects is {source.max_rejects:.1%}). {shown}.",
        place=Place(file=file),
        hint=_hint(counts),
    )


def _hint(counts: Counter[tuple[str, str]]) -> str:
    ((leading, _), _), *_ = counts.most_common(1)
    if leading == "S324":
        return "Set `read.csv.encoding` to latin-1, cp1252 or utf-16. Nothing was taken in."
    if leading in ("S321", "S322", "S323"):
        return "Check `read.csv.delimiter` and `quote`. Nothing was taken in."
    return "Correct the file or the source's fields, or raise max_rejects. Nothing was taken in."
