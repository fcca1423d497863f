"""What each section says first: a sentence or two in plain words, made from the figures."""

from __future__ import annotations

from tilltal.insight.report.data import (
    ActionView,
    Flow,
    Headline,
    KpiView,
    LifecycleView,
    Loss,
    MicroSegmentView,
    ModelView,
    PenetrationView,
    PersonaView,
    ValueView,
    WhyNot,
)
from tilltal.insight.report.words import (
    by_channel,
    count,
    day,
    dimension,
    in_unit,
    inline,
    listing,
    month,
    name,
    number,
    period,
    segment,
    share,
)

STEP_NAMES: dict[Loss, str] = {
    "eligibility": "Not allowed",
    "applicability": "Not relevant now",
    "suitability": "Not in their interest",
    "contact_policy": "May not be contacted",
    "worth": "Nothing to gain",
    "lost": "Another went first",
    "won": "Chosen first",
}
_NOTABLE_SHARE = 0.0005


def contrast(headline: Headline) -> str:
    """Say how far the choice is from a mass mailing."""
    if not headline.actions:
        return "Nobody has a next best action today."
    if headline.actions == 1:
        return "All of them get the same action."
    one = f"The most common here, “{headline.most_common}”, is best for {share(headline.most_common_share)}"
    return f"A mass mailing says one thing to all. {one}."


def lifecycle(view: LifecycleView) -> str:
    """Name the largest stage and the largest moves."""
    largest = max(view.stages, key=lambda stage: stage.customers)
    text = f"{share(largest.share)} of customers are in stage {largest.name}."
    moves = moved(view)[:2]
    if not moves:
        return f"{text} Nobody changed stage between {day(view.start)} and {day(view.end)}."
    told = [f"{number(flow.customers)} from {flow.before or 'outside'} to {flow.after}" for flow in moves]
    return f"{text} In {month(view.start)} most moved {listing(told)}."


def moved(view: LifecycleView) -> list[Flow]:
    """Return the flows that changed something, largest first."""
    flows = [flow for flow in view.flows if flow.before != flow.after]
    return sorted(flows, key=lambda flow: (-flow.customers, flow.before, flow.after))


def value(view: ValueView) -> str:
    """Name the largest cell, and the one that holds most of the income."""
    total = sum(cell.customers * (cell.average_income or 0.0) for cell in view.cells)
    largest = max(view.cells, key=lambda cell: cell.customers)
    text = f"{largest.name} is the largest segment with {share(largest.share)} of customers."
    richest = max(view.cells, key=lambda cell: cell.customers * (cell.average_income or 0.0))
    if total <= 0:
        return text
    part = richest.customers * (richest.average_income or 0.0) / total
    return (
        f"{text} {share(part)} of the income comes from {richest.name}, {share(richest.share)} of customers."
    )


def personas(view: PersonaView) -> str:
    """Name the largest persona, and say how far to trust the division."""
    first = view.personas[0]
    largest = f"the largest is {name(first.name)} with {share(first.share)}"
    return f"{count(len(view.personas), 'persona')}; {largest}. {stability(view.stability)}"


def stability(value: float | None) -> str:
    """Say what the agreement between runs with other seeds means."""
    if value is None:
        return "Their centres were given by marketing, not learned."
    measured = f"(agreement {number(value, 2)} of 1 between repeated runs)"
    if value >= 0.8:
        return f"Learned anew, they would come out nearly the same {measured}."
    if value >= 0.5:
        return f"Learned anew, most customers would land in a like persona {measured}; the borders are soft."
    return f"Learned anew, they would come out differently {measured}: a rough guide, not a fact of nature."


def degree(deviations: float) -> str:
    """Put a standardised difference into words.

    >>> degree(1.5), degree(0.4), degree(-0.9), degree(-1.2)
    ('much higher', 'somewhat higher', 'lower', 'much lower')
    """
    size = abs(deviations)
    direction = "higher" if deviations > 0 else "lower"
    return f"much {direction}" if size >= 1 else direction if size >= 0.5 else f"somewhat {direction}"


def models(views: tuple[ModelView, ...]) -> str:
    """Say how many models are in use, and the best at finding customers."""
    used = [model for model in views if model.is_accepted]
    text = f"{len(used)} of {count(len(views), 'model')} passed the test on customers of a later date."
    rest = "" if len(used) == len(views) else " The others give everybody the base rate."
    tested = [model for model in used if model.test and model.test.tenths]
    if not tested:
        return text + rest
    best = max(tested, key=lambda model: model.test.tenths[0].lift if model.test else 0.0)
    return f"{text}{rest} {name(best.name)} finds most: {first_tenth(best)}"


def first_tenth(model: ModelView) -> str:
    """Say what the best-scored tenth holds."""
    if model.test is None or not model.test.tenths:
        return ""
    first = model.test.tenths[0]
    return (
        f"its best-scored tenth holds {share(first.gain)} of all who said yes,"
        f" {number(first.lift, 1)} times as many as chance."
    )


def ordering(model: ModelView) -> str:
    """Say what the AUC means."""
    if model.test is None or model.test.auc.value != model.test.auc.value:
        return "It could not be tested."
    value = model.test.auc.value
    word = "Strong" if value >= 0.8 else "Good" if value >= 0.7 else "Moderate" if value >= 0.6 else "Weak"
    times = f"{round(100 * value)} times in 100"
    return f"{word}: of two customers, one of whom says yes, it names the right one {times}."


def calibration(model: ModelView) -> str:
    """Say whether the probabilities can be taken at their word."""
    test = model.test
    if test is None:
        return ""
    said = f"On average it said {share(test.expected)}, and {share(test.base_rate)} came true."
    if test.ece <= max(2 * test.ece_by_chance, 0.1 * test.base_rate):
        return f"{said} Its probabilities can be taken at their word."
    off = f"They are off by {number(100 * test.ece, 1)} points on average"
    return f"{said} {off}: trust the order more than the level."


def actions(view: ActionView) -> str:
    """Say how many get something, and how varied it is."""
    decided = sum(use.customers for use in view.actions)
    if not decided:
        return "Nobody has a next best action today; the next section says why."
    text = (
        f"{count(decided, 'customer')} ({share(decided / max(view.known, 1))}) have a next best action;"
        f" {count(len(view.actions), 'different action')} are somebody's first."
    )
    if view.channels:
        first = view.channels[0]
        text += f" {share(first.share)} of them go by {by_channel(first.name)}."
    return text


def why_not(view: WhyNot) -> str:
    """Say where most candidates end."""
    totals: dict[Loss, int] = {}
    for action in view.actions:
        for step, customers in action.ends:
            totals[step] = totals.get(step, 0) + customers
    everything = sum(totals.values())
    lost: dict[Loss, int] = {step: customers for step, customers in totals.items() if step != "won"}
    if not any(lost.values()):
        return "Nothing stands between customers and actions."
    step = max(lost, key=lambda each: lost[each])
    return (
        f"Every customer is asked about every action: {number(everything)} questions."
        f" {share(lost[step] / everything)} end at “{STEP_NAMES[step].lower()}”."
    )


def steps_used(view: WhyNot) -> frozenset[Loss]:
    """Return the steps at which anybody ended; the others need no column."""
    return frozenset(step for action in view.actions for step, customers in action.ends if customers)


def kpis(view: KpiView, currency: str) -> str:
    """Give the main figures of the last complete period."""
    if view.complete < 0:
        return f"No {view.period} is complete yet."
    told = [
        f"{kpi.title.lower()} {in_unit(kpi.values[view.complete], kpi.unit, currency, view.period)}"
        for kpi in view.kpis
        if kpi.name in ("customers_end", "active_rate", "gross_churn_rate", "income")
        and kpi.values[view.complete] is not None
    ]
    return f"In {period(view.starts[view.complete], view.period)}: {listing(told)}."


def penetration(view: PenetrationView) -> str:
    """Name the most and the least common product."""
    most, least = view.products[0], view.products[-1]
    text = f"{share(most.share)} of customers hold {inline(most.name)}"
    return f"{text}." if most is least else f"{text}; {inline(least.name)} reaches {share(least.share)}."


def micro_segments(view: MicroSegmentView) -> str:
    """Say how many there are, and what the shown ones cover."""
    covered = sum(each.share for each in view.shown)
    shown = (
        "These are all of them"
        if len(view.shown) == view.count
        else f"The {len(view.shown)} largest are shown"
    )
    return f"{count(view.count, 'micro-segment')}. {shown}; they hold {share(covered)} of customers."


def crossing_name(values: tuple[str, ...], dimensions: tuple[str, ...]) -> str:
    """Write the name of a micro-segment; where it has no value, say what it has none of.

    >>> crossing_name(("Loyal", "–"), ("lifecycle.stage", "persona.name"))
    'Loyal · no persona'
    >>> crossing_name(("Loyal", "–"), ("lifecycle.stage",))
    'Loyal · –'
    """
    if len(values) != len(dimensions):  # the definition has changed since the snapshot
        return " · ".join(values)
    return " · ".join(
        f"no {dimension(key).lower()}" if value == "–" else segment(value)
        for value, key in zip(values, dimensions, strict=True)
    )
