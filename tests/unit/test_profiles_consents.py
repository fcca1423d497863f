"""Consents by purpose and channel: the latest answer decides, a refusal at the same instant wins."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from tilltal.customers.consents import consents_sql
from tilltal.engines.duckdb import DuckDBEngine
from tilltal.workspace.definitions.policies import Purpose

START = datetime(2026, 1, 1)
PURPOSES = {"marketing": Purpose(), "service": Purpose(consent="not_required")}
Answer = tuple[int, str, str, bool, int]  # profile, purpose, channel, granted, hours


def consents(
    answers: list[Answer], profiles: int = 1, as_of: datetime | None = None
) -> list[dict[str, object]]:
    engine = DuckDBEngine(threads=1)
    engine.register("spine", pa.table({"profile": range(profiles), "is_known": [True] * profiles}))
    times = pa.array([START + timedelta(hours=one[4]) for one in answers], pa.timestamp("us"))
    table = {
        "profile": pa.array([one[0] for one in answers], pa.int64()),
        "purpose": pa.array([one[1] for one in answers], pa.string()),
        "channel": pa.array([one[2] for one in answers], pa.string()),
        "granted": pa.array([one[3] for one in answers], pa.bool_()),
        "at": times,
        "received": times,
    }
    engine.register("consents", pa.table(table))
    sql = consents_sql(PURPOSES, ["email", "sms"], as_of=as_of)
    relation = engine.connection.sql(f"FROM ({sql}) ORDER BY profile")
    return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]


def marketing(answers: list[Answer]) -> tuple[object, object]:
    (row,) = consents(answers)
    return row["consent.marketing.email"], row["consent.marketing.sms"]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        pytest.param([], (False, False), id="no answer means no"),
        pytest.param([(0, "marketing", "email", True, 1)], (True, False), id="one channel"),
        pytest.param([(0, "marketing", "*", True, 1)], (True, True), id="all channels"),
        pytest.param(
            [(0, "marketing", "*", False, 1), (0, "marketing", "sms", True, 2)], (False, True), id="later yes"
        ),
        pytest.param(
            [(0, "marketing", "sms", True, 1), (0, "marketing", "*", False, 2)],
            (False, False),
            id="later no to all",
        ),
        pytest.param(
            [(0, "marketing", "*", True, 1), (0, "marketing", "sms", False, 1)],
            (True, False),
            id="refusal at once",
        ),
        pytest.param([(0, "service", "*", True, 1)], (False, False), id="another purpose"),
        pytest.param([(0, "marketing", "push", True, 1)], (False, False), id="another channel"),
    ],
)
def test_the_answer_in_force(answers: list[Answer], expected: tuple[bool, bool]) -> None:
    assert marketing(answers) == expected
    assert marketing(answers[::-1]) == expected


def test_a_purpose_that_needs_no_consent_is_allowed_even_where_refused() -> None:
    (row,) = consents([(0, "service", "*", False, 1)])
    assert row["consent.service.email"] is True


def test_an_answer_to_come_does_not_count() -> None:
    answers: list[Answer] = [(0, "marketing", "email", True, 1), (0, "marketing", "email", False, 3)]
    (row,) = consents(answers, as_of=(START + timedelta(hours=2)).replace(tzinfo=UTC))
    assert row["consent.marketing.email"] is True


def test_only_purposes_without_consent_need_no_answers() -> None:
    assert "consents" not in consents_sql({"service": Purpose(consent="not_required")}, ["email"])


def test_random_answers_agree_with_a_plain_reading() -> None:
    chance = random.Random(3)
    answers: list[Answer] = [
        (
            chance.randrange(40),
            "marketing",
            chance.choice(["email", "sms", "*"]),
            chance.random() < 0.5,
            chance.randrange(9),
        )
        for _ in range(400)
    ]
    for row in consents(answers, profiles=40):
        for channel in ("email", "sms"):
            own = [one for one in answers if one[0] == row["profile"] and one[2] in (channel, "*")]
            last = [one[3] for one in own if one[4] == max(each[4] for each in own)]
            assert row[f"consent.marketing.{channel}"] == (bool(own) and all(last))
