"""What an explanation holds beside its reasons: everything that was seen, and what is missing now."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from tests.e2e.serving import Shop

from tilltal.core.errors import TilltalError
from tilltal.core.instants import micros
from tilltal.core.operational import Decided, Writes
from tilltal.decisions.contacting.permission import Permit
from tilltal.decisions.live.decider import Shown
from tilltal.engines.operational.opening import open_store
from tilltal.runtime.live.answers.account import DecisionAccount
from tilltal.runtime.live.answers.archive import DEFINITIONS, Origin, keep
from tilltal.runtime.live.answers.deciding import Logged, written
from tilltal.runtime.live.answers.explaining import Explainer
from tilltal.workspace.check import usable
from tilltal.workspace.workspace import Workspace

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
ORIGIN = Origin(snapshot="2026-03-01", as_of="2026-03-01T00:00:00+00:00", models={"liking": "abc"})
ID = "01" * 16


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return usable(Shop(tmp_path / "shop").root)


def logged(workspace: Workspace) -> Logged:
    """A row of a decision that showed `hello`, as it comes out, or nearly."""
    return Logged(
        definitions=workspace.content_hash,
        context={"page": "loans"},
        count=1,
        channel="push",
        is_known=True,
        is_fallback=False,
        values={"audience.buyers": False},
        rates=b"",
        shown=[Shown(1, "hello", "push", 0.1, 0.1, 1.0, 1.0, 1.0, -1)],
        permits={"hello/push": Permit("service", "push", "not_required", None)},
        origin=ORIGIN.digest,
    )


def explained(
    workspace: Workspace, row: Logged, *, language: str = "en", marks: dict[str, bytes] | None = None
) -> DecisionAccount:
    """Store a decision beside what decided, and explain it."""

    async def story() -> DecisionAccount | None:
        place = Path(workspace.root) / "live.sqlite"
        store = await open_store(str(place))
        try:
            await keep(store, workspace, ORIGIN)
            decided = Decided(id=bytes.fromhex(ID), at=micros(NOW), profile=7, body=written(row))
            await store.write(Writes(decisions=[decided], marks=marks or {}))
            explainer = Explainer(store)
            assert await explainer.decision(workspace, "no id", language) is None
            assert await explainer.decision(workspace, "02" * 16, language) is None
            assert len(await explainer.latest(workspace, 7, 5, language)) == 1
            assert await explainer.latest(workspace, 8, 5, language) == []
            return await explainer.decision(workspace, ID, language)
        finally:
            await store.close()

    found = asyncio.run(story())
    assert found is not None
    return found


def test_an_explanation_says_by_what_it_was_decided(workspace: Workspace) -> None:
    told = explained(workspace, logged(workspace))
    assert (told.is_proved, told.has_changed, told.notes) == (True, False, ())
    assert (told.snapshot, told.as_of, told.models) == (ORIGIN.snapshot, ORIGIN.as_of, ORIGIN.models)
    assert (told.channel, told.count, told.context) == ("push", 1, {"page": "loans"})
    assert told.known == {"audience.buyers": False}
    (lost,) = told.not_chosen
    assert (lost.stage, lost.rule, lost.saw) == ("eligibility", "has_bought", {"audience.buyers": False})


def test_what_came_out_otherwise_is_told_as_it_was_stored(workspace: Workspace) -> None:
    row = logged(workspace)
    forged = msgspec.structs.replace(row, shown=[msgspec.structs.replace(row.shown[0], V=7.0)])
    told = explained(workspace, forged, language="sv")
    assert not told.is_proved
    assert told.notes == ("Räknat på nytt blir det annorlunda: det här är vad som lagrades av beslutet",)
    assert [(one.title, one.V) for one in told.chosen] == [("Hello", 7.0)]
    assert told.not_chosen == ()


def test_without_the_definitions_what_was_stored_is_told_with_all_that_was_seen(workspace: Workspace) -> None:
    seen = {
        "age": 41,
        "consent.marketing.email": True,
        "contacts.cap.week": 2,
        "score.liking": 0.25,
    }
    row = msgspec.structs.replace(logged(workspace), definitions="0" * 64, values=seen, is_known=False)
    told = explained(workspace, row)
    assert told.has_changed
    assert told.notes == (
        "It is not known who asked",
        "The definitions of then cannot be read: this is what was stored of the decision",
    )
    assert told.known == {"age": 41}
    assert told.consents == {"consent.marketing.email": True}
    assert told.contacts == {"contacts.cap.week": 2}
    assert told.scores == {"liking": 0.25}
    assert [(one.action, one.title, one.P) for one in told.chosen] == [("hello", "hello", 0.1)]


def test_damaged_definitions_are_no_failure(workspace: Workspace) -> None:
    marks = {DEFINITIONS + workspace.content_hash: b"junk"}
    told = explained(workspace, logged(workspace), marks=marks)
    assert not told.is_proved
    assert told.chosen


def test_a_language_without_words_is_refused(workspace: Workspace) -> None:
    with pytest.raises(TilltalError, match="C129"):
        explained(workspace, logged(workspace), language="fi")


def test_actions_are_called_by_their_titles_in_the_language(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop")
    for name in ("hello", "thanks"):
        file = shop.root / f"actions/{name}/action.yaml"
        shop.write(f"actions/{name}/action.yaml", f"titles: {{sv: På svenska {name}}}\n" + file.read_text())
    workspace = usable(shop.root)
    row = logged(workspace)
    for language, titles in (
        ("sv", ["På svenska hello", "På svenska thanks"]),
        ("nb", ["Hello", "Thank you"]),
    ):
        told = explained(workspace, row, language=language)
        assert [told.chosen[0].title, told.not_chosen[0].title] == titles
