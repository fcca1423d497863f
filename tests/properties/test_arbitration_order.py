"""Arbitration gives the same answer for every order of the candidates, in one form and in the other."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cases.arbitration import winner_without

from tilltal.decisions.arbitration import Candidate, arbitrate
from tilltal.workspace.definitions.policies import (
    ActionScope,
    Arbitration,
    ContextRule,
    Factors,
    Levers,
)

# Few distinct numbers make ties likely; the large ones reach beyond what a float holds to nine decimals.
NUMBERS = st.sampled_from([0.0, 0.1, 0.2, 0.3, 1.0, 3.0, 1e7 + 0.1, 123456789.123456789, -5.0])
PROPENSITIES = st.sampled_from([None, 0.0, 0.1, 0.2, 0.3, 1 / 3, 1.0, 1.5, float("nan")])
GROUPS = st.sampled_from(["loans", "savings", "cards"])


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    names = draw(st.lists(st.text("abcåä", min_size=1, max_size=3), min_size=0, max_size=7, unique=True))
    return [
        Candidate(
            action=name,
            group=draw(GROUPS),
            issue=draw(st.sampled_from(["sales", "service"])),
            propensity=draw(PROPENSITIES),
            value=draw(st.none() | NUMBERS),
            mandatory=draw(st.booleans()),
            failed=draw(st.sampled_from([None, None, None, "eligibility:age"])),
        )
        for name in names
    ]


POLICIES = st.builds(
    Arbitration,
    mode=st.sampled_from(["pcvl", "nbo"]),
    slots=st.integers(1, 4),
    factors=st.builds(Factors, P=st.booleans(), C=st.booleans(), V=st.booleans(), L=st.booleans()),
    offer_only_positive=st.booleans(),
    max_per_group=st.none() | st.integers(1, 2),
    context_rules=st.lists(
        st.builds(
            ContextRule,
            key=st.just("page"),
            value=st.sampled_from(["loan", "car"]),
            weight=st.sampled_from([-150.0, 10.0, 33.3]),
            applies_to=st.builds(ActionScope, group=st.none() | GROUPS),
        ),
        max_size=3,
    ).map(tuple),
    levers=st.builds(Levers, group=st.dictionaries(GROUPS, st.sampled_from([-200.0, 10.0]), max_size=2)),
)


@settings(max_examples=200, deadline=None)
@given(st.data(), candidates(), POLICIES)
def test_order_of_candidates_means_nothing(
    data: st.DataObject, given_candidates: list[Candidate], policy: Arbitration
) -> None:
    shuffled = data.draw(st.permutations(given_candidates))
    context = {"page": "loan"}
    ranking = arbitrate(given_candidates, policy, context)
    assert ranking == arbitrate(shuffled, policy, context)
    assert winner_without(given_candidates, policy, context) == winner_without(shuffled, policy, context)


@settings(max_examples=200, deadline=None)
@given(candidates(), POLICIES)
def test_every_candidate_is_shown_or_has_a_reason(
    given_candidates: list[Candidate], policy: Arbitration
) -> None:
    ranking = arbitrate(given_candidates, policy, {})
    names = [entry.action for entry in ranking.ranked] + [entry.action for entry in ranking.lost]
    assert sorted(names) == sorted(each.action for each in given_candidates)
    assert len(ranking.ranked) <= policy.slots
    assert all(entry.reason for entry in ranking.lost)
    if policy.max_per_group is not None:
        group_of = {each.action: each.group for each in given_candidates}
        groups = [group_of[entry.action] for entry in ranking.ranked]
        assert all(groups.count(group) <= policy.max_per_group for group in groups)
