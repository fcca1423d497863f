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
        return any(self.sender.plans(one.channel) for one in shown)

    def plans(self, shown: Sequence[Shown], moment: Moment, habit: Habit) -> Plans:
        """Return when each shown action is sent whose moment is chosen."""
        found = {}
        for one in shown:
            if self.sender.plans(one.channel):
                action = self._actions[one.action]
                contact = contact_of(one.action, action.definition, one.channel)
                planned = self.sender.choose(contact, action.ends, moment.now, moment.zone, habit)
                if planned is not None:
                    found[f"{one.action}/{one.channel}"] = planned
        return found
