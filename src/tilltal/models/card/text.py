"""Model card: one page of Markdown with pictures (Mitchell et al. 2019, FAT*, "Model cards")."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from tilltal.models.baseline import counted_positives, percent
from tilltal.models.card.pictures import Picture, gains_picture, importance_picture, reliability_picture
from tilltal.models.card.uplift import TENTH_COLUMNS, effect_lines, effect_pictures, tenth_rows
from tilltal.models.model import Content
from tilltal.models.quality.evaluation import Evaluation
from tilltal.models.quality.report import Report, SnapshotQuality
from tilltal.models.uplift.findings import Uplift
from tilltal.workspace.definitions.models import Outcome

_MOST_FEATURES = 20
_LIMITS = (
    "It predicts, it does not explain causes: who is likely to buy need not be moved by a message.",
    "It was tested on one past snapshot and holds while customers and offers stay alike.",
    "The interval of the AUC says how sure that snapshot's customers make it; other years may differ more.",
    "The leak check finds gross leaks only. Whoever adds a source answers for what was known when.",
)


_UPLIFT_LIMITS = (
    "It says what the treatment of the experiment added; another wording or price may add more, or less.",
    "It was tested on customers of the same experiment and holds while customers and offers stay alike.",
    "An effect that differs too little to be seen in this many customers is not there for it.",
)


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """The text, and the pictures it refers to by file name."""

    text: str
    pictures: tuple[Picture, ...] = ()


def write_card(content: Content) -> Card:
    """Return the card of a trained model, of a base rate, or of what an action adds."""
    report = content.report
    if content.uplift is not None:
        return _uplift_card(content, content.uplift)
    sections = [_head(content), _data(report)]
    pictures: tuple[Picture, ...] = ()
    if report.test is not None:
        pictures = (
            gains_picture(report.test),
            reliability_picture(report.test),
            importance_picture(report.features),
        )
        sections += [_quality(report, report.test), _calibration(report.test), _features(report)]
    sections += [_watch(report), _section("Limits", _bullets(_LIMITS))]
    return Card(text="\n\n".join(sections) + "\n", pictures=pictures)


def _uplift_card(content: Content, known: Uplift) -> Card:
    pictures = effect_pictures(known)
    sections = [_head(content), _section("What the experiment shows", _bullets(effect_lines(known)))]
    if known.trial is not None:
        picture = "![Qini curve: answers of yes gained by share of customers treated](qini.png)"
        table = _table(TENTH_COLUMNS, tenth_rows(known.trial.tenths))
        sections.append(_section("By tenths of the predicted effect, per 1,000 customers", picture, table))
    sections += [_watch(content.report), _section("Limits", _bullets(_UPLIFT_LIMITS))]
    return Card(text="\n\n".join(sections) + "\n", pictures=pictures)


def outcome_text(outcome: Outcome) -> str:
    """Say in words what a model predicts.

    >>> outcome_text(Outcome(holding="mortgage"))
    'opens mortgage'
    """
    if outcome.closes:
        return "gives notice or closes the relation"
    if outcome.holding is not None:
        return f"opens {outcome.holding}"
    condition = f" where `{outcome.where}`" if outcome.where else ""
    return " or ".join(f"`{name}`" for name in outcome.events) + condition


def _head(content: Content) -> str:
    definition, report = content.definition, content.report
    rows = [
        ("Predicts", f"{outcome_text(definition.outcome)} within {definition.horizon}"),
        ("For", f"`{definition.eligible}`" if definition.eligible else "everybody"),
        (
            "Base rate",
            f"{report.base_rate}, from {report.base_rate.rows:,} rows that do not overlap in time",
        ),
        ("Purpose", definition.purpose or "not stated"),
        ("Definitions", f"`{content.definition_hash or 'not stated'}`, seed {definition.seed}"),
    ]
    about = [definition.description] if definition.description else []
    return "\n\n".join([f"# Model: {content.name}", *about, f"**{report.verdict}**", _table(("", ""), rows)])


def _data(report: Report) -> str:
    if not report.snapshots:
        return _section("Data", "No rows.")
    first, last = report.snapshots[0].day, report.snapshots[-1].day
    summary = (
        f"{report.rows:,} rows, {counted_positives(report.positives)}, snapshots from {first} to {last}."
    )
    header = ("snapshot", "part", "rows", "positives", "rate", "said", "AUC")
    return _section("Data", summary, _table(header, (_snapshot(item) for item in report.snapshots)))


def _snapshot(item: SnapshotQuality) -> tuple[str, ...]:
    return (
        str(item.day),
        item.role,
        f"{item.rows:,}",
        f"{item.positives:,}",
        percent(item.positives / max(item.rows, 1)),
        "" if item.said is None else percent(item.said),
        "" if item.auc is None else f"{item.auc:.3f}",
    )


def _quality(report: Report, test: Evaluation) -> str:
    rows = [
        ("AUC, on the latest snapshot", str(test.auc)),
        ("Average precision", f"{test.average_precision:.3f} (at random {test.base_rate:.3f})"),
        ("Log loss", f"{test.log_loss:.4f}"),
        ("Trees", str(report.trees)),
    ]
    if report.random_auc is not None:
        rows.insert(1, ("AUC, had the rows been divided at random", f"{report.random_auc:.3f}"))
    tenths = [
        (str(i), f"{t.rows:,}", f"{t.positives:,}", f"{t.lift:.2f}", percent(t.gain))
        for i, t in enumerate(test.tenths, start=1)
    ]
    lift = _table(("tenth", "customers", "positives", "lift", "found so far"), tenths)
    picture = "![Gains: share of positives found by share of customers](gains.png)"
    return _section("How well it orders customers", _table(("", ""), rows), picture, lift)


def _calibration(test: Evaluation) -> str:
    summary = _table(
        ("", "before", "after", "by chance alone"),
        [
            ("Calibration error (ECE)", *(f"{v:.4f}" for v in (test.ece_raw, test.ece, test.ece_by_chance))),
            ("Expected positives", "", percent(test.expected), f"came true: {percent(test.base_rate)}"),
            ("Brier score", "", f"{test.brier:.4f}", ""),
        ],
    )
    bins = [
        (f"{b.rows:,}", percent(b.said), percent(b.came_true), f"{percent(b.low)} to {percent(b.high)}")
        for b in test.reliability
    ]
    picture = "![Reliability: what came true against what was said](reliability.png)"
    table = _table(("customers", "said", "came true", "95 % interval"), bins)
    return _section("Whether its probabilities come true", summary, picture, table)


def _features(report: Report) -> str:
    rows = [
        (f"`{use.name}`", percent(use.importance), f"{use.drift.psi:.3f}", use.drift.verdict)
        for use in report.features[:_MOST_FEATURES]
    ]
    rest = len(report.features) - len(rows)
    more = [f"And {rest} more, each less important."] if rest > 0 else []
    dropped = "; ".join(f"`{item.name}` ({item.reason})" for item in report.dropped)
    unused = [f"Not used: {dropped}."] if dropped else []
    picture = "![Importance of the features](importance.png)"
    table = _table(("feature", "importance", "PSI", "drift"), rows)
    return _section("Features", picture, table, *more, *unused)


def _watch(report: Report) -> str:
    lines = [
        f"`{leak.feature}`: {leak.evidence}; make sure that it is known at the snapshot."
        for leak in report.leaks
    ]
    lines += [
        f"`{use.name}` has drifted between training and test (PSI {use.drift.psi:.2f}, {use.drift.verdict})."
        for use in report.features
        if use.drift.verdict != "stable"
    ]
    if report.score_drift is not None and report.score_drift.verdict != "stable":
        drift = report.score_drift
        lines.append(f"The score has drifted before the test (PSI {drift.psi:.2f}, {drift.verdict}).")
    return _section("What to watch", _bullets([*lines, *report.notes]) or "Nothing stands out.")


def _section(title: str, *parts: str) -> str:
    return "\n\n".join([f"## {title}", *parts])


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")
