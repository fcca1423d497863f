"""Attributes, consents and holdings of one customer, fact by fact."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest

from tilltal.core.errors import WorkspaceError
from tilltal.customers.live.facts.consent_answers import ConsentFact, ConsentPlan, ConsentState
from tilltal.customers.live.facts.holding_facts import HoldingFact, HoldingPlan, HoldingState, spans
from tilltal.customers.live.facts.records import RecordFact, RecordPlan, RecordState
from tilltal.customers.profiles import RecordSource
from tilltal.rules.clock import Clock
from tilltal.workspace.definitions.policies import Purpose
from tilltal.workspace.definitions.profile import Attribute, Profile

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = Clock(datetime(2026, 3, 10, 12, tzinfo=UTC), ZoneInfo("Europe/Stockholm"))
CRM = RecordSource(name="crm", fields={"city": "text", "income": "money", "note": "any"})
WEB = RecordSource(name="web", fields={"city": "text"})
MESSAGES = RecordSource(name="crm", fields=CRM.fields, is_partial=True)


def record(
    source: str, hours: int, received: int | None = None, event_id: str = "a", **fields: object
) -> RecordFact:
    at, arrival = START + timedelta(hours=hours), START + timedelta(hours=received or hours)
    return RecordFact(source=source, at=at, received=arrival, event_id=event_id, fields=fields)


def attributes(
    *facts: RecordFact, profile: Profile | None = None, crm: RecordSource = CRM
) -> dict[str, object]:
    plan, state = RecordPlan([crm, WEB], profile or Profile(), "SEK"), RecordState()
    for fact in facts:
        plan.add(state, fact)
    return plan.values(msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=RecordState))


def test_a_record_replaces_all_of_its_source_and_money_is_seen_in_major_units() -> None:
    values = attributes(record("crm", 1, city="Lund", income=1250), record("crm", 2, income=50))
    assert values == {"city": None, "income": 0.5, "note": None}


def test_only_a_later_record_of_a_known_source_is_news() -> None:
    plan, state = RecordPlan([CRM, WEB], Profile(), "SEK"), RecordState()
    assert plan.add(state, record("crm", 2, event_id="b"))
    assert not plan.add(state, record("crm", 2, event_id="b")), "the same message"
    assert not plan.add(state, record("crm", 2, event_id="a")), "the lesser id of the same instants"
    assert not plan.add(state, record("crm", 1))
    assert not plan.add(state, record("gone", 9))
    assert plan.add(state, record("crm", 2, received=3))


def test_the_newest_of_all_sources_decides_even_with_no_value_and_trust_looks_further() -> None:
    facts = record("web", 5), record("crm", 1, city="Lund")
    trusted = Profile(attributes={"city": Attribute(policy="precedence", sources=("web", "crm"))})
    assert attributes(*facts)["city"] is None
    assert attributes(*facts, profile=trusted)["city"] == "Lund"


def test_of_a_partial_source_what_a_record_does_not_state_stands() -> None:
    facts = record("crm", 1, city="Lund", income=1250), record("crm", 3, income=50), record("crm", 2, note=1)
    expected = {"city": "Lund", "income": 0.5, "note": 1}
    assert attributes(*facts, crm=MESSAGES) == expected
    assert attributes(*facts[::-1], crm=MESSAGES) == expected


def test_a_partial_source_is_as_new_as_its_latest_statement_of_the_attribute() -> None:
    facts = record("crm", 1, city="Lund"), record("web", 2, city="Kiruna"), record("crm", 3, income=50)
    assert attributes(*facts)["city"] is None
    assert attributes(*facts, crm=MESSAGES)["city"] == "Kiruna"
    assert attributes(*facts, record("crm", 4, city="Lund"), crm=MESSAGES)["city"] == "Lund"


def test_a_record_that_states_nothing_of_a_partial_source_is_no_news() -> None:
    plan, state = RecordPlan([MESSAGES], Profile(), "SEK"), RecordState()
    assert not plan.add(state, record("crm", 1))
    assert plan.add(state, record("crm", 2, city="Lund"))
    assert not plan.add(state, record("crm", 1, city="Kiruna"))
    assert plan.add(state, record("crm", 1, income=50)), "earlier, but the first of its field"


@pytest.mark.parametrize("turn", [1, -1])
def test_fragments_of_a_partial_source_merge_field_by_field(turn: int) -> None:
    plan, early, late = RecordPlan([MESSAGES], Profile(), "SEK"), RecordState(), RecordState()
    plan.add(early, record("crm", 1, city="Lund", income=1250))
    plan.add(late, record("crm", 2, income=50))
    expected = {"city": "Lund", "income": 0.5, "note": None}
    assert plan.values(plan.merged([early, late][::turn])) == expected


@pytest.mark.parametrize("note", [1, 1.0, "1", True, False, 0])
def test_a_field_of_any_type_keeps_its_type(note: object) -> None:
    value = attributes(record("crm", 1, note=note))["note"]
    assert (type(value), value) == (type(note), note)


def test_what_is_no_scalar_is_its_text() -> None:
    assert attributes(record("crm", 1, note={"b": [1], "a": "ö"}))["note"] == '{"a": "ö", "b": [1]}'


def test_a_policy_that_names_an_unknown_source_is_a_fault_of_the_workspace() -> None:
    with pytest.raises(WorkspaceError, match="P354"):
        RecordPlan([CRM], Profile(attributes={"city": Attribute(sources=("crn",))}), "SEK")


def answer(channel: str, hours: int, *, granted: bool) -> ConsentFact:
    at = START + timedelta(hours=hours)
    return ConsentFact(purpose="marketing", channel=channel, granted=granted, at=at, received=at)


def test_a_later_answer_is_news_and_of_the_same_instant_a_refusal() -> None:
    plan, state = ConsentPlan({"marketing": Purpose()}, ["email"]), ConsentState()
    assert plan.values(state) == {"consent.marketing.email": False}
    assert plan.add(state, answer("*", 1, granted=True))
    assert not plan.add(state, answer("*", 1, granted=True))
    assert plan.values(state) == {"consent.marketing.email": True}
    assert plan.add(state, answer("*", 1, granted=False))
    assert plan.values(state) == {"consent.marketing.email": False}


def test_an_answer_is_kept_though_its_purpose_is_not_defined_yet() -> None:
    state = ConsentState()
    ConsentPlan({}, []).add(state, answer("email", 1, granted=True))
    values = ConsentPlan({"marketing": Purpose()}, ["email", "sms"]).values(state)
    assert values == {"consent.marketing.email": True, "consent.marketing.sms": False}


@pytest.mark.parametrize("turn", [1, -1])
def test_the_latest_answer_of_all_fragments_decides_in_any_order(turn: int) -> None:
    plan, early, late = ConsentPlan({"marketing": Purpose()}, ["email"]), ConsentState(), ConsentState()
    plan.add(early, answer("email", 1, granted=False))
    plan.add(late, answer("email", 2, granted=True))
    merged = plan.merged([early, late][::turn])
    assert plan.values(merged) == {"consent.marketing.email": True}
    assert plan.values(early) == {"consent.marketing.email": False}, "fragments stay as they are"


def holding(product: str, opened: int, closed: int | None = None, received: int = 1) -> HoldingFact:
    return HoldingFact(
        source="core",
        product=product,
        opened=date(2026, 3, opened),
        closed=None if closed is None else date(2026, 3, closed),
        received=datetime(2026, 3, received, tzinfo=UTC),
    )


def held(*facts: HoldingFact) -> HoldingState:
    plan, state = HoldingPlan(()), HoldingState()
    for fact in facts:
        plan.add(state, fact)
    return msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=HoldingState)


def test_the_rarest_product_leads_unless_an_order_is_given_and_one_nobody_held_before_them() -> None:
    state, order = held(holding("loan", 1), holding("card", 1)), {"card": 0, "loan": 1}
    assert HoldingPlan(()).values(state, NOW, order) == {"holdings": 2, "leading_product": "card"}
    assert HoldingPlan((), first=("loan",)).values(state, NOW, order)["leading_product"] == "loan"
    new = held(holding("gift", 1), holding("card", 1))
    assert HoldingPlan(()).values(new, NOW, order)["leading_product"] == "gift"


def test_a_statement_said_before_is_no_news() -> None:
    plan, state = HoldingPlan(("loan",)), HoldingState()
    assert plan.add(state, holding("loan", 1))
    assert not plan.add(state, holding("loan", 1))
    assert plan.add(state, holding("loan", 1, received=2))
    assert plan.add(state, holding("loan", 1, closed=9, received=3))


def test_the_latest_statement_decides_also_where_it_takes_a_closing_back() -> None:
    plan = HoldingPlan(("loan",))
    closed = holding("loan", 1, received=1), holding("loan", 1, closed=9, received=2)
    assert plan.values(held(*closed), NOW, {})["holding.loan"] is False
    assert plan.values(held(*closed, holding("loan", 1, received=3)), NOW, {})["holding.loan"] is True


@pytest.mark.parametrize(
    ("fact", "expected"),
    [
        (holding("loan", 12), date(2026, 3, 12)),
        (holding("loan", 1, closed=15), date(2026, 3, 15)),
        (holding("loan", 12, closed=11), None),
        (holding("loan", 1), None),
        (holding("loan", 1, received=20), date(2026, 3, 20)),
    ],
)
def test_the_next_day_on_which_what_is_held_changes(fact: HoldingFact, expected: date | None) -> None:
    assert HoldingPlan(("loan",)).next_change(held(fact), NOW) == expected


def test_times_that_touch_or_overlap_are_one_and_other_products_do_not_count() -> None:
    state = held(holding("loan", 1, 5), holding("card", 5, 9), holding("card", 20), holding("gift", 10))
    march = date(2026, 3, 1).toordinal() - 1
    assert spans(state, ("loan", "card"), NOW)[0] == (march + 1, march + 9)
    assert [opened - march for opened, _ in spans(state, ("loan", "card"), NOW)] == [1, 20]
    assert [opened - march for opened, _ in spans(state, ("any",), NOW)] == [1, 10]


def test_times_that_are_not_known_yet_are_not_told() -> None:
    assert spans(held(holding("loan", 1, received=20)), ("any",), NOW) == []
