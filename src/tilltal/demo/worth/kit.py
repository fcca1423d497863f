"""The product's side: what the bank knows of the customers, and its definitions compiled to decide by.

Profiles are made of the demo's own history exactly as a server makes them; models, borders and centroids
are those of the snapshot in force.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

import msgspec
import numpy as np

from tilltal.core.names import quote
from tilltal.customers.live.facts.pending import Fact
from tilltal.customers.live.profile import ProfileProgram, ProfileState
from tilltal.decisions.arbitration import Context
from tilltal.decisions.contacting.policy import Moment
from tilltal.decisions.live.decider import LiveDecider, Shown
from tilltal.decisions.plan import DecisionPlan
from tilltal.demo.catalogue import ACTION, CHANNELS
from tilltal.demo.shapes import Floats, Ints
from tilltal.models.adaptive.recalibration import log_odds
from tilltal.models.calibration import Platt
from tilltal.rules.clock import Clock
from tilltal.runtime.answers.snapshot import Snapshot
from tilltal.runtime.intake.ingest import open_vault
from tilltal.runtime.live.contacting import LiveContacts
from tilltal.runtime.live.history.rows import fact_maker
from tilltal.runtime.live.reference import lookalikes_of, reference_of
from tilltal.runtime.refresh.deciding import decision_plan
from tilltal.runtime.refresh.views import declared_views, open_views, view_name
from tilltal.workspace.workspace import Workspace

Row = dict[str, object]
_NOTHING: Context = MappingProxyType({})
_NO_LINES: Mapping[str, Platt] = MappingProxyType({})
_KEEPS = "0.4 * GREATEST(COALESCE(net_income_12mo, 0), 0)"
_LEAVING = 3  # of three who have begun to leave, one has left within the model's horizon
_LEAST_CONTACTS = 50  # contacts in the past for which a rate of yes is taken from them


class Bureau(msgspec.Struct, frozen=True):
    """The product with the customers of one world in it.

    Attributes:
        workspace: the definitions, with what the campaigns so far have taught: see `experienced`.
        plan: its actions, parsed.
        program: makes profiles.
        contacts: the contact policy over profiles.
        profiles: by place in the world.
        tokens: the customers' numbers, by place.
        states: what is known as the months begin, by place.
        editions: of the models.
        lines: by model, what makes its probability of buying one of a yes to a contact, by the past.
        campaigns: what the past tells of answers.
    """

    workspace: Workspace
    plan: DecisionPlan
    program: ProfileProgram
    contacts: LiveContacts
    profiles: tuple[int, ...]
    tokens: tuple[int, ...]
    states: tuple[bytes, ...]
    editions: Mapping[str, str]
    lines: Mapping[str, Platt]
    campaigns: Campaigns


def profiles_of(snapshot: Snapshot, numbers: Ints) -> dict[int, tuple[int, int]]:
    """Return token and profile of customer numbers that the snapshot knows as customers of today."""
    with open_vault(snapshot.workspace) as vault:
        tokens = {vault.pseudonymiser.token("customer", str(one)): int(one) for one in numbers.tolist()}
    listed = ", ".join(map(str, tokens))
    rows = snapshot.engine.rows(
        "SELECT i.identity, any_value(i.profile) FROM history.people AS i JOIN profiles AS p "
        f"ON p.profile = i.profile WHERE i.identity IN ({listed}) AND p.is_known "
        'AND p."lifecycle.stage" IS NOT NULL AND p."lifecycle.stage" <> \'Regain\' GROUP BY 1'
    )
    return {tokens[token]: (token, profile) for token, profile in rows}


def bureau(snapshot: Snapshot, people: Sequence[tuple[int, int]]) -> Bureau:
    """Open for some customers, given as token and profile in the order of the world."""
    campaigns = campaigns_so_far(snapshot)
    rates = campaigns.rates
    workspace = experienced(snapshot.workspace, rates)
    plan = decision_plan(workspace, snapshot.clock)
    lines = _lines(snapshot, plan, rates)
    contacts = LiveContacts(workspace, plan)
    reference = reference_of(snapshot)
    program = ProfileProgram(workspace, reference, contacts.families)
    profiles = tuple(profile for _, profile in people)
    return Bureau(
        workspace, plan, program, contacts, profiles, tuple(token for token, _ in people),
        tuple(_states(snapshot, program, profiles)), reference.editions, lines, campaigns,
    )  # fmt: skip


class Campaigns(msgspec.Struct, frozen=True):
    """Contacts of the past and their yeses, by action and channel."""

    contacts: Mapping[tuple[str, str], int]
    yes: Mapping[tuple[str, str], int]

    @property
    def rates(self) -> dict[str, float]:
        """The share of yes by action, where there were contacts enough; half a yes is added to each."""
        sent: Counter[str] = Counter()
        said: Counter[str] = Counter()
        for pair, count in self.contacts.items():
            sent[pair[0]] += count
            said[pair[0]] += self.yes.get(pair, 0)
        return {
            name: min((said[name] + 0.5) / (count + 1), 0.99)
            for name, count in sent.items()
            if count >= _LEAST_CONTACTS
        }


def campaigns_so_far(snapshot: Snapshot) -> Campaigns:
    """Count what history tells of contacts."""
    counts = 'SELECT action, channel, count(*) FROM "event.{}" GROUP BY action, channel'
    contacts, yes = (
        {(action, channel): count for action, channel, count in snapshot.engine.rows(counts.format(name))}
        for name in ("contact", "offer_accepted")
    )
    return Campaigns(contacts, yes)


def experienced(workspace: Workspace, rates: Mapping[str, float]) -> Workspace:
    """Return a workspace that has learned from its campaigns.

    Stated probabilities are the shares of yes so far, and what a retention action keeps counts by the
    probability that the customer leaves. Mandatory actions are left out: whatever the strategy, a duty is
    done.
    """
    at_risk = f"({_KEEPS}) * LEAST(1.0, {_LEAVING} * COALESCE(score.churn, 0.0))"
    actions = {
        name: msgspec.structs.replace(
            action,
            propensity=rates[name]
            if name in rates and isinstance(action.propensity, float)
            else action.propensity,
            value=at_risk if action.issue == "retention" and "churn" in workspace.models else action.value,
        )
        for name, action in workspace.actions.items()
        if not action.mandatory
    }
    return msgspec.structs.replace(workspace, actions=actions)


def _lines(snapshot: Snapshot, plan: DecisionPlan, rates: Mapping[str, float]) -> dict[str, Platt]:
    """Shift each model's log-odds so that the average customer's probability is the share of yes so far."""
    found = {}
    for action in plan.actions:
        if action.model is not None and action.name in rates:
            score = quote(f"score.{action.model}")
            ((usual,),) = snapshot.engine.rows(f"SELECT avg({score}) FROM profiles WHERE is_known")
            if usual is not None and 0 < usual < 1:
                shift = log_odds(rates[action.name]) - log_odds(usual)
                found[action.model] = Platt(1.0, shift)
    return found


def _states(snapshot: Snapshot, program: ProfileProgram, profiles: Sequence[int]) -> Iterable[bytes]:
    """Fold the history of profiles, as a server does once before it serves."""
    clock, likes = snapshot.clock, lookalikes_of(snapshot)
    states = {profile: program.new() for profile in profiles}
    for profile, state in states.items():
        state.is_known = True
        state.lookalikes = likes.get(profile, frozenset())
    listed = ", ".join(map(str, states))
    open_views(
        snapshot.engine, snapshot.workspace, clock, "worth", f"profile IN ({listed})", with_tokens=True
    )
    for view in declared_views(snapshot.workspace):
        name = view_name(view)
        if name != "observations":
            made = fact_maker(snapshot.workspace, view)
            for row in snapshot.engine.arrow(f"SELECT * FROM {quote(name)}").to_pylist():
                program.add(states[row["profile"]], row["identity"], made(row), clock)
    for state in states.values():
        program.advance(state, clock)
        yield program.encode(state)


class Desk:
    """The customers of a bureau under one strategy, and a decider for them."""

    def __init__(self, bureau: Bureau, plan: DecisionPlan | None = None) -> None:
        self.bureau = bureau
        self.plan = plan or bureau.plan
        self.decider = LiveDecider(self.plan)
        self._alone: dict[str, LiveDecider] = {}
        self._program, self._zone = bureau.program, bureau.workspace.zone
        self._states = [self._program.decode(state) for state in bureau.states]
        wanted = {*self.plan.names, *(f"audience.{name}" for name in bureau.workspace.audiences)}
        self._names = tuple(sorted(wanted & self._program.names.keys()))

    def clock(self, now: datetime) -> Clock:
        """Return the clock of an instant."""
        return Clock(now, self._zone)

    def tell(self, row: int, fact: Fact, now: datetime) -> None:
        """Let the bank know of something."""
        state = self._states[row]
        state.is_stale = True  # nobody asks what changed between two decisions
        self._program.add(state, self.bureau.tokens[row], fact, self.clock(now))

    def profile(self, row: int, now: datetime) -> Row:
        """Return what the bank knows of a customer at an instant, the contact policy's readings included."""
        state, clock = self._states[row], self.clock(now)
        state.is_stale = True
        self._program.advance(state, clock)
        values = self._program.values(state, clock, self._names)
        values.update(self._readings(state, values, clock, self.bureau.profiles[row]))
        return values

    def _readings(self, state: ProfileState, values: Row, clock: Clock, profile: int) -> Row:
        contacts = self.bureau.contacts
        moment: Moment = contacts.moment(values, clock, profile)
        return contacts.readings(contacts.past(self._program, state, moment.now), moment)

    def best(
        self,
        row: Row,
        now: datetime,
        *,
        context: Context = _NOTHING,
        channel: str | None = None,
        rates: Floats | None = None,
        lines: Mapping[str, Platt] = _NO_LINES,
    ) -> Shown | None:
        """Return the next best action of a profile, None where there is none; see `LiveDecider.decide`."""
        values = self.decider.values_of(row)
        decision = self.decider.decide(
            values, self.clock(now), context, count=1, channel=channel, rates=rates, lines=lines
        )
        return decision.shown[0] if decision.shown else None

    def of_action(self, row: Row, action: str, now: datetime) -> Shown | None:
        """Return the contact about one action if it may be made, by the engagement and contact policies."""
        if action not in self._alone:
            only = tuple(one for one in self.plan.actions if one.name == action)
            self._alone[action] = LiveDecider(msgspec.structs.replace(self.plan, actions=only))
        decider = self._alone[action]
        shown = decider.decide(decider.values_of(row), self.clock(now), {}, count=1).shown
        return shown[0] if shown else None


def numbers_of(shown: Shown) -> tuple[int, int]:
    """Return the numbers of action and channel in the demo's catalogue."""
    return ACTION[shown.action], CHANNELS.index(shown.channel)


def row_numbers(rows: Sequence[int]) -> Ints:
    """Return places as an array."""
    return np.array(rows, dtype=np.int64)
