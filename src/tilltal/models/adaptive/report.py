"""The report on adaptive models, as values; `card.adaptive` puts it in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from tilltal.models.adaptive.bins import AnyBins, Borders, Listed
from tilltal.models.adaptive.change import RUN
from tilltal.models.adaptive.contest import Standing
from tilltal.models.adaptive.evidence import Evidence, Predictor
from tilltal.models.adaptive.health import MATURE, Figures, Verdict, drift_of, figures, verdict
from tilltal.models.adaptive.naive_bayes import NaiveBayes
from tilltal.models.adaptive.selection import LEAST_AUC
from tilltal.models.adaptive.team import Team
from tilltal.models.quality.drift import Drift
from tilltal.workspace.definitions.actions import Method

_CALIBRATED = 0.08
"""The rolling ECE from which a mature model is watched."""


class GroupReport(msgspec.Struct, frozen=True):
    """A group of a predictor's bins: what lies in it, its answers, and what it adds to the score."""

    holds: str
    yes: float
    no: float
    contribution: float


class PredictorReport(msgspec.Struct, frozen=True, kw_only=True):
    """A predictor: its AUC alone, whether it is listened to and if not why; its PSI once it is known."""

    name: str
    auc: float | None
    is_active: bool
    reason: str
    drift: Drift | None
    groups: tuple[GroupReport, ...]


class ContestReport(msgspec.Struct, frozen=True, kw_only=True):
    """Who serves how much, how often a challenger was promoted, and how the challenger stands."""

    methods: tuple[Method, ...]
    champion: Method
    shares: tuple[float, ...]
    promotions: int
    standings: tuple[Standing, ...]


class ModelReport(msgspec.Struct, frozen=True, kw_only=True):
    """One action in one channel. `latest` is absent without answers.

    `maturity` is positives over 200, 1 at most. `alarms` are instants at which the probabilities were found
    to be true no longer, in microseconds.
    """

    name: str
    method: Method
    positives: float
    negatives: float
    maturity: float
    verdict: Verdict
    latest: Figures | None
    predictors: tuple[PredictorReport, ...]
    contest: ContestReport | None
    alarms: tuple[int, ...]
    watch: tuple[str, ...]

    @property
    def is_mature(self) -> bool:
        """True from 200 positives on."""
        return self.positives >= MATURE

    @property
    def rate(self) -> float:
        """Share of yes of all answers; 0 without any."""
        answers = self.positives + self.negatives
        return self.positives / answers if answers else 0.0


class AdaptiveReport(msgspec.Struct, frozen=True, kw_only=True):
    """All adaptive models.

    `mature` is the share of models with 200 positives; `without_evidence` the share of actions none of whose
    models has.
    """

    at: int
    models: tuple[ModelReport, ...]
    mature: float
    without_evidence: float


def adaptive_report(teams: Iterable[Team], at: int) -> AdaptiveReport:
    """Return the report as of an instant, in microseconds; teams are named `action/channel`."""
    models = tuple(_model(team, at) for team in sorted(teams, key=lambda each: each.name))
    actions: dict[str, bool] = {}
    for each in models:
        action = each.name.rpartition("/")[0]
        actions[action] = actions.get(action, False) or each.is_mature
    return AdaptiveReport(
        at=at,
        models=models,
        mature=sum(each.is_mature for each in models) / max(len(models), 1),
        without_evidence=sum(not is_known for is_known in actions.values()) / max(len(actions), 1),
    )


def _model(team: Team, at: int) -> ModelReport:
    champion = team.models[0 if team.contest is None else team.contest.champion]
    yes, no = champion.answers(at)
    latest = figures(team.ledger.bands())
    found = verdict(yes, None if latest is None else latest.auc)
    predictors = _predictors(team, at)
    return ModelReport(
        name=team.name,
        method=champion.layout.adaptive.method,
        positives=yes,
        negatives=no,
        maturity=min(yes / MATURE, 1.0),
        verdict=found,
        latest=latest,
        predictors=predictors,
        contest=_contest(team, at),
        alarms=tuple(team.ledger.alarms),
        watch=tuple(_watch(found, latest, predictors, team.ledger.alarms)),
    )


def _contest(team: Team, at: int) -> ContestReport | None:
    if team.contest is None:
        return None
    methods = tuple(model.layout.adaptive.method for model in team.models)
    return ContestReport(
        methods=methods,
        champion=methods[team.contest.champion],
        shares=team.contest.shares(at),
        promotions=team.contest.round,
        standings=team.contest.standings(),
    )


def _predictors(team: Team, at: int) -> tuple[PredictorReport, ...]:
    """Report the predictors; their AUC and groups are those that naive Bayes knows, if it takes part."""
    layout = team.models[0].layout
    counted = next((model for model in team.models if isinstance(model, NaiveBayes)), None)
    evidence = None if counted is None else counted.evidence(at)
    names = layout.adaptive.features
    seen = team.ledger.seen()
    found = []
    for place, (name, start, bins) in enumerate(zip(names, layout.starts, layout.bins, strict=True)):
        cells = range(start, start + bins.size)
        drift = None if seen is None else drift_of(name, *seen, cells)
        found.append(_predictor(name, place, evidence, bins, drift, names))
    return tuple(found)


def _predictor(
    name: str,
    place: int,
    evidence: Evidence | None,
    bins: AnyBins,
    drift: Drift | None,
    names: Sequence[str],
) -> PredictorReport:
    if evidence is None:
        return PredictorReport(name=name, auc=None, is_active=True, reason="", drift=drift, groups=())
    choice = evidence.choices[place]
    reason = "" if choice.is_active else f"AUC below {LEAST_AUC} beyond chance"
    if choice.like is not None:
        reason = f"says what {names[choice.like]} says"
    return PredictorReport(
        name=name,
        auc=choice.auc,
        is_active=choice.is_active,
        reason=reason,
        drift=drift,
        groups=_groups(evidence.predictors[place], bins),
    )


def _groups(predictor: Predictor, bins: AnyBins) -> tuple[GroupReport, ...]:
    return tuple(
        GroupReport(
            _holds([bin_ for bin_, at in enumerate(predictor.places) if at == place], bins),
            predictor.yes[place],
            predictor.no[place],
            predictor.contributions[place],
        )
        for place in range(len(predictor.yes))
    )


def _holds(members: Sequence[int], bins: AnyBins) -> str:
    """Say which values a group holds; `members` are its bins, in order."""
    if members == [0]:
        return "missing"
    if isinstance(bins, Borders):
        low = "" if members[0] <= 1 else f"from {bins.borders[members[0] - 2]:g}"
        high = "" if members[-1] > len(bins.borders) else f"below {bins.borders[members[-1] - 1]:g}"
        return " ".join(filter(None, (low, high))) or "all"
    if isinstance(bins, Listed):
        texts = ["missing", "others", *bins.texts]
        return ", ".join(texts[each] for each in members)
    return f"{len(members)} of {bins.size - 1} checksums"


def _watch(
    found: Verdict, latest: Figures | None, predictors: Iterable[PredictorReport], alarms: Sequence[int]
) -> Iterable[str]:
    """Yield what somebody should look at."""
    if found in ("poor", "suspicious"):
        yield f"AUC is {found}"
    if latest is not None and found != "young" and latest.ece > _CALIBRATED:
        yield f"ECE {latest.ece:.3f} is above {_CALIBRATED}"
    for each in predictors:
        if each.drift is not None and each.drift.verdict != "stable":
            yield f"{each.name} has drifted: PSI {each.drift.psi:.2f}, {each.drift.verdict}"
    if alarms:
        yield f"calibration alarm, {len(alarms)} times (false once in {RUN:,} answers at most)"
