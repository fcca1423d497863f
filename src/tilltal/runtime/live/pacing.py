"""When what is decided for one customer is sent: the rhythm that the profile's state holds, and the rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tilltal.core.time import Unit, Window
from tilltal.customers.live.profile import ProfileProgram, ProfileState
from tilltal.customers.live.traits.families import Family
from tilltal.customers.rhythms.local_hours import hours_of
from tilltal.customers.rhythms.rhythm import FLAT, Rhythm, counts_of
from tilltal.decisions.contacting.parts import contact_of
from tilltal.decisions.contacting.policy import Moment
from tilltal.decisions.live.decider import Shown
from tilltal.decisions.live.reasons import Pair
from tilltal.decisions.plan import DecisionPlan
from tilltal.decisions.sending.choosing import Closing, Habit, Planned, Sender, habit_of
from tilltal.rules.clock import Clock
from tilltal.workspace.workspace import Workspace

Plans = dict[str, Planned]  # `action/channel` → when it is sent


class Pacing:
    """The rules of sending over states of profiles; `families` must be kept by who makes the states."""

    def __init__(self, workspace: Workspace, plan: DecisionPlan, rhythm: Rhythm = FLAT) -> None:
        """Compile.

        Args:
            workspace: the definitions.
            plan: what is decided by.
            rhythm: the population's.

        Raises:
            ValueError: if a duration or a time of day cannot be read.
        """
        self.sender = Sender(workspace.sending, workspace.contact)
        self.rhythm = rhythm
        self._closing = Closing(self.sender, plan.endings)
        self._actions = {action.name: action for action in plan.actions}
        sending = workspace.sending
        self._presence = Family(
            types=tuple(sorted(sending.events)),
            needs=("quarters",),
            windows=(Window(sending.days, Unit.DAYS),),
        )

    @property
    def families(self) -> list[Family]:
        """What of events must be kept."""
        return [self._presence] if self.sender.channels and self._presence.types else []

    def readings(self, moment: Moment) -> Mapping[str, int]:
        """Return which messages can no longer be sent in time."""
        return self._closing.readings(moment.now, moment.zone)

    def habit(self, program: ProfileProgram, state: ProfileState, clock: Clock, moment: Moment) -> Habit:
        """Return a customer's rhythm as of a clock."""
        if not self.families:
            return habit_of(counts_of(()), self.rhythm)
        quarters = program.quarters(state, self._presence, clock)
        return habit_of(counts_of(hours_of(quarters, moment.zone)), self.rhythm)

    def concerns(self, shown: Sequence[Shown]) -> bool:
        """True if the moment of any shown action is chosen."""
        return bool(self.sender.channels) and any(self.sender.plans(one.channel) for one in shown)

    def plans(self, shown: Sequence[Shown], moment: Moment, habit: Habit) -> Plans:
        """Return when each shown action is sent whose moment is chosen."""
        found = ((one, self.plan((one.action, one.channel), moment, habit)) for one in shown)
        return {f"{one.action}/{one.channel}": planned for one, planned in found if planned is not None}

    def plan(self, pair: Pair, moment: Moment, habit: Habit) -> Planned | None:
        """Return when an action would be sent by a channel; None if that is not chosen."""
        name, channel = pair
        if not self.sender.plans(channel):
            return None
        action = self._actions[name]
        contact = contact_of(name, action.definition, channel)
        return self.sender.choose(contact, action.ends, moment.now, moment.zone, habit)
