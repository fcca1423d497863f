"""One chunk of the bank: its customers, their story and the bank's outreach, ready to be written to files."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from tilltal.demo.calendar import DAY_SECONDS, Span, seconds_of_day
from tilltal.demo.outreach import Outreach
from tilltal.demo.people import People, draw_people
from tilltal.demo.shapes import Bools, Floats, Ints, generator
from tilltal.demo.story import Story


class Bank(NamedTuple):
    """A chunk of customers with everything that happened to them."""

    seed: int
    chunk: int
    data: Path
    span: Span
    people: People
    story: Story
    outreach: Outreach

    def random(self, topic: str) -> np.random.Generator:
        """The random generator of one file."""
        return generator(self.seed, self.chunk, topic)

    def file(self, folder: str, name: str, ending: str) -> Path:
        """Where a file of this chunk goes."""
        return self.data / folder / f"{name}-{self.chunk:04d}{ending}"

    def present_share(self) -> Floats:
        """Share of each month with a relation, shape (n, months)."""
        days = np.maximum(self.story.last - self.story.first + 1, 0)
        return np.asarray(days / self.span.lengths(), dtype=np.float64)

    def busy(self) -> Floats:
        """How active a customer is in a month, 1 = ordinary, shape (n, months)."""
        return np.asarray(self.story.activity * self.present_share(), dtype=np.float64)

    def held(self, *products: int) -> Bools:
        """Who holds one of the products at the end of the month or of the one before, shape (n, months)."""
        holds = np.asarray(self.story.holds[:, :, list(products)].any(axis=2), dtype=np.bool_)
        before = np.concatenate([holds[:, :1], holds[:, :-1]], axis=1)
        return np.asarray(holds | before, dtype=np.bool_)

    def moments(
        self, rng: np.random.Generator, who: Ints, month: Ints, *, opens: int = 6, closes: int = 24
    ) -> Ints:
        """Draw moments on active days of the customers' months."""
        first, last = self.story.first[who, month], self.story.last[who, month]
        day = first + np.floor(rng.random(len(who)) * (last - first + 1)).astype(np.int64)
        return np.asarray(
            day * DAY_SECONDS + seconds_of_day(rng, len(who), opens=opens, closes=closes), dtype=np.int64
        )


def occurrences(rng: np.random.Generator, expected: Floats) -> tuple[Ints, ...]:
    """Draw Poisson counts and return the cell numbers of each occurrence, one array per axis."""
    counts = rng.poisson(expected)
    cells = np.nonzero(counts)
    times = counts[cells]
    return tuple(np.repeat(cell, times) for cell in cells)


def live(seed: int, chunk: int, first: int, count: int, span: Span, data: Path) -> Bank:
    """Let one chunk of customers live through the span; in the months ahead the bank stays silent."""
    people = draw_people(seed, chunk, first, count, Span(span.past))
    story = Story(people, span, seed, chunk)
    outreach = Outreach(story, seed, chunk)
    for month in range(span.months):
        story.begin_month(month)
        if month < span.past:
            outreach.month(month)
        else:
            outreach.rest(month)
        story.end_month(month)
    story.finish()
    return Bank(seed, chunk, data, span, people, story, outreach)
