"""Customers in memory: what is kept, what goes first, what is left out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tilltal.core.operational import Owned, State, Writes
from tilltal.engines.operational import sqlite_reads
from tilltal.engines.operational.recent import Lately, Recent, Touched
from tilltal.engines.sqlite import open_sqlite

ALWAYS = 0


def touched(writes: Writes) -> Touched:
    found = Touched()
    found.add(writes)
    return found


def state(profile: int, size: int = 1000) -> State:
    return State(profile, bytes(size))


def test_a_state_is_found_by_the_first_token_that_is_its_profile_s_at_all_times() -> None:
    recent = Recent(100_000)
    recent.keep(state(1), 7)
    assert recent.whose([7, 8]) == state(1)
    assert recent.whose([8, 7]) is None
    assert recent.whose([]) is None


def test_the_oldest_in_use_goes_first() -> None:
    recent = Recent(4_000)
    for profile in (1, 2, 3, 4):
        recent.keep(state(profile), profile)
    assert recent.whose([1]) is None
    assert recent.whose([2]) is not None
    recent.keep(state(5), 5)
    assert [profile for profile in range(1, 6) if recent.state(profile)] == [2, 4, 5]


def test_what_was_used_since_the_young_became_the_old_outlives_what_was_not() -> None:
    lately: Lately[str] = Lately()
    for key in range(6):
        assert lately.put(key, str(key)) is None
    assert lately.pop_oldest() == "0"
    assert lately.get(1) == "1"
    assert lately.put(3, "three") == "3"
    lately.put(6, "6")
    assert lately.pop(2) == "2"
    assert (len(lately), 2 in lately, 5 in lately, lately.get(2)) == (5, False, True, None)
    assert [lately.pop_oldest() for _ in range(5)] == ["4", "5", "1", "three", "6"]
    assert len(lately) == 0
    with pytest.raises(KeyError):
        lately.pop_oldest()


def test_memory_is_held_within_its_bytes_whatever_replaces_what() -> None:
    recent = Recent(10_000)
    for turn in range(1_000):
        recent.keep(state(turn % 7, 500 + turn % 11 * 100))
    assert 5 <= len(recent) <= 12
    for profile in range(7):
        recent.take(touched(Writes(gone=[profile])))
    assert len(recent) == 0
    assert not recent.is_full
    for profile in range(12):
        recent.keep(state(profile, 500))
    assert len(recent) == 12


def test_what_is_committed_is_taken_over() -> None:
    recent = Recent(100_000)
    recent.keep(state(1), 7)
    recent.keep(state(2), 8)
    recent.take(
        touched(
            Writes(
                states=[state(2, 20)],
                gone=[1],
                owners={7: (Owned(7, ALWAYS, None, 2),), 9: (Owned(9, ALWAYS, None, 2),)},
            )
        )
    )
    assert recent.whose([7]) == state(2, 20)
    assert recent.whose([9]) is None  # nobody asked for it yet
    assert recent.state(1) is None


def test_a_token_that_is_sometimes_somebody_s_is_not_kept() -> None:
    recent = Recent(100_000)
    recent.keep(state(1), 7)
    recent.keep(state(2), 8)
    spans = (Owned(7, ALWAYS, 100, 1), Owned(7, 100, None, 2))
    recent.take(touched(Writes(owners={7: spans, 8: (Owned(8, ALWAYS, None, None),)})))
    assert recent.whose([7]) is None
    assert recent.whose([8]) is None
    assert recent.state(1) is not None


def test_what_may_have_been_committed_is_forgotten() -> None:
    recent = Recent(100_000)
    recent.keep(state(1), 7)
    recent.keep(state(2), 8)
    recent.forget(touched(Writes(states=[state(1, 20)])))
    assert recent.whose([7]) is None
    assert recent.whose([8]) is not None


def test_what_changed_while_it_was_read_is_left_out() -> None:
    recent = Recent(100_000)
    recent.begin_reading()
    recent.take(touched(Writes(states=[state(1, 20)], owners={8: (Owned(8, ALWAYS, None, 1),)}, gone=[4])))
    recent.end_reading([(state(1), 7), (state(2), 8), (state(3), 9), (state(4), 10)])
    assert recent.state(1) == state(1, 20)
    assert recent.whose([8]) is None
    assert recent.whose([9]) == state(3)
    assert recent.whose([10]) is None
    recent.begin_reading()
    recent.clear()
    recent.end_reading([(state(5), 11)])
    assert recent.whose([11]) is None


def test_reading_ahead_pushes_nobody_out() -> None:
    recent = Recent(4_000)
    recent.keep(state(1), 1)
    recent.begin_reading()
    recent.end_reading([(state(profile), profile) for profile in range(2, 10)])
    assert recent.whose([1]) is not None
    assert recent.is_full


def test_while_we_write_memory_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        store = await open_sqlite(tmp_path / "live.db")
        await store.write(Writes(states=[state(1)], owners={7: (Owned(7, ALWAYS, None, 1),)}))
        assert await store.whose([7], 1) == (1, state(1))
        with monkeypatch.context() as patched:
            patched.setattr(sqlite_reads, "whose", None)  # nobody may ask the file
            async with store.transaction() as tx:
                await tx.write(Writes(states=[state(1, 20)]))
                assert await store.whose([7], 1) == (1, state(1))
            assert await store.whose([7], 1) == (1, state(1, 20))
        await store.close()

    asyncio.run(main())
