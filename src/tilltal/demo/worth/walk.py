"""Walking through the months under one strategy: what happens is told, contacts are answered and told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tilltal.customers.live.facts.consent_answers import ConsentFact
from tilltal.customers.live.facts.pending import Fact
from tilltal.customers.traits.online import Event
from tilltal.demo.calendar import DAY_SECONDS
from tilltal.demo.catalogue import ACTIONS, CHANNELS, PRODUCTS
from tilltal.demo.shapes import Ints
from tilltal.demo.worth.kit import Desk
from tilltal.demo.worth.lives import Answers, Lives
from tilltal.demo.worth.timeline import Happening, day_in, holding
from tilltal.demo.worth.truth import SOLD
from tilltal.demo.worth.world import World, day_of


class Walk:
    """The months ahead of a world, for one strategy; `desk` is None where nobody asks the product."""

    def __init__(self, world: World, happenings: Sequence[Happening], desk: Desk | None = None) -> None:
        self.world, self.desk = world, desk
        self.lives = Lives(world)
        self._happenings = happenings
        self._next = 0
        self._month = 0
        self._number = 0

    def happen(self, until: int) -> Iterator[Happening]:
        """Give what happens before a moment, customers' lives and the bank's knowledge brought up to each."""
        while self._next < len(self._happenings) and self._happenings[self._next].moment < until:
            one = self._happenings[self._next]
            self._next += 1
            self._turn_months(one.moment)
            if self.lives.left[one.row] > day_of(one.moment):
                self._take(one)
                yield one
        self._turn_months(until)

    def pass_until(self, moment: int) -> None:
        """Let everything before a moment happen."""
        for _ in self.happen(moment):
            pass

    def finish(self) -> Lives:
        """Let the rest happen, and return the customers."""
        self.pass_until(self.world.span.days * DAY_SECONDS + 1)
        return self.lives

    def contact(self, who: Ints, action: Ints, channel: Ints, moment: int) -> Answers:
        """Make contacts, one a customer, and tell the bank what came of them."""
        answers = self.lives.contact(who, action, channel, moment)
        if self.desk is not None:
            for place, row in enumerate(who.tolist()):
                facts = list(self._facts(int(action[place]), int(channel[place]), answers, place, moment))
                for fact in facts:
                    self.desk.tell(row, fact, fact.received)
        return answers

    def _turn_months(self, moment: int) -> None:
        starts = self.world.span.month_start
        while (
            self.world.span.past + self._month + 1 < len(starts)
            and moment >= starts[self.world.span.past + self._month + 1] * DAY_SECONDS
        ):
            self.lives.end_month(self._month)
            self._month += 1

    def _take(self, one: Happening) -> None:
        lives = self.lives
        if one.product >= 0:
            lives.looked[one.row, one.product] = one.moment
        if one.place is not None:
            lives.was_there[one.row] = one.moment
        if one.opened >= 0:
            lives.owned[one.row, one.opened] = True
        if self.desk is not None:
            self.desk.tell(one.row, one.fact, one.fact.received)

    def _facts(self, action: int, channel: int, answers: Answers, place: int, moment: int) -> Iterator[Fact]:
        """Give what the bank's systems tell of a contact and its answer."""
        truth, at = ACTIONS[action], self.world.instant(moment)
        fields = {"action": truth.name, "area": truth.group, "channel": CHANNELS[channel]}
        steps = {
            "contact": True, "contact_opened": answers.opened[place],
            "contact_clicked": answers.clicked[place], "offer_accepted": answers.accepted[place],
            "contact_complaint": answers.complained[place],
        }  # fmt: skip
        for kind, happened in steps.items():
            if happened:
                self._number += 1
                name = f"contact-{self._number}"
                yield Event(type=kind, at=at, received=at, event_id=name, fields=fields)
        if answers.accepted[place] and SOLD[action] >= 0:
            yield holding(PRODUCTS[SOLD[action]], at, day_in(self.world.span, moment))
        if answers.refused[place]:
            for purpose in ("marketing", "personal_offers"):
                yield ConsentFact(purpose=purpose, channel="*", granted=False, at=at, received=at)
