"""The command that explains: from the snapshot, one logged decision, or a customer's latest."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated

import typer

from tilltal.cli import console
from tilltal.cli.options import Folder, Json, Moment, context, note_unused
from tilltal.decisions.explanation import Chosen, Explanation, NotChosen
from tilltal.runtime.answers.explain import explain as explain_one
from tilltal.runtime.live.answers.account import DecisionAccount
from tilltal.runtime.live.answers.looking_up import explain_decision, explain_latest, is_decision
from tilltal.workspace.check import usable


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(explain)


def explain(
    workspace: Folder,
    customer: Annotated[
        str,
        typer.Argument(
            help="Profile id, namespace:value, or a customer number; or the id of a logged decision."
        ),
    ],
    moment: Moment = None,
    logged: Annotated[
        int | None, typer.Option(min=1, help="The customer's latest decisions as logged, so many.")
    ] = None,
    language: Annotated[str, typer.Option(help="Of the words: sv, nb, en or ru.")] = "en",
    as_json: Json = False,
) -> None:
    """Say what one customer gets and why, and for every other action why not."""
    loaded = usable(workspace)
    if is_decision(customer):
        told = asyncio.run(explain_decision(loaded, customer, language))
        console.show_json(told) if as_json else show_account(told, loaded.currency)
        return
    if logged is not None:
        latest = asyncio.run(explain_latest(loaded, customer, logged, language, datetime.now(UTC)))
        _show_latest(latest, loaded.currency, as_json=as_json)
        return
    known = context(moment)
    note_unused(known, loaded)
    found = explain_one(loaded, customer, known, language)
    console.show_json(found) if as_json else show_explanation(found, loaded.currency)


def _show_latest(found: list[DecisionAccount], currency: str, *, as_json: bool) -> None:
    if as_json:
        console.show_json(found)
        return
    if not found:
        console.out.print("Nothing was decided for this customer.")
    for account in found:
        show_account(account, currency)
        console.out.print()


def show_account(told: DecisionAccount, currency: str) -> None:
    """Print a logged decision in words."""
    console.out.print(f"Decision {told.decision_id} of {told.at.isoformat()}", style="bold")
    console.out.print(f"  for {told.profile or 'somebody not known'}, by {told.channel or 'any channel'}")
    for heading, values in (
        ("context", told.context),
        ("known", told.known),
        ("scores", told.scores),
        ("consents", told.consents),
        ("contacts", told.contacts),
    ):
        for name, value in values.items():
            console.out.print(console.harmless(f"  {heading}: {name} = {value}"))
    for note in told.notes:
        console.out.print(console.harmless(f"  {note}."))
    _show_actions(told.chosen, told.not_chosen, currency)
    if told.responses:
        console.show_table(
            "\nWhat came of it",
            ("at", "action", "response"),
            [(each.at, each.action, each.kind) for each in told.responses],
        )
    scored = f", scores of the snapshot {told.snapshot} as of {told.as_of}" if told.snapshot else ""
    console.out.print(f"\nDefinitions {told.definitions[:12]}{scored}", style="dim")
    if told.has_changed:
        console.out.print("Other definitions are in force now.", style="dim")
    if told.is_proved:
        console.out.print("Decided again, it came out the same to the last byte.", style="dim")


def show_explanation(found: Explanation, currency: str) -> None:
    """Print one customer's decision in words."""
    console.out.print(f"{found.profile} as of {found.as_of}", style="bold")
    for name, value in found.known.items():
        shown = f"{value:.2f}" if isinstance(value, float) else value
        console.out.print(console.harmless(f"  {name}: {shown}"))
    _show_actions(found.chosen, found.not_chosen, currency)
    console.out.print(f"\nDefinitions {found.definitions[:12]}", style="dim")
    if found.has_changed:
        console.out.print("They have changed since the last refresh, whose decision may be another.")


def _show_actions(chosen: Iterable[Chosen], others: Iterable[NotChosen], currency: str) -> None:
    console.show_table(
        "\nWhat the customer gets",
        (
            "rank",
            "action",
            "channel",
            "priority",
            "P",
            "C",
            f"V ({currency})",
            "L",
            f"cost ({currency})",
            "because",
        ),
        [
            (
                each.rank,
                each.action,
                each.channel,
                f"{each.priority:,.2f}",
                f"{each.P:.4f}",
                f"{each.C:.2f}",
                f"{each.V:,.0f}",
                f"{each.L:.2f}",
                f"{each.cost:,.2f}",
                "; ".join(each.because),
            )
            for each in chosen
        ],
    )
    console.show_table(
        "\nWhy not the others",
        ("action", "reason", "in words", "what the rule saw"),
        [
            (
                each.action,
                each.reason,
                _why(each),
                ", ".join(f"{name} = {_seen(value)}" for name, value in each.saw.items()),
            )
            for each in others
        ],
    )


def _why(each: NotChosen) -> str:
    """Return the reason in words, with those of other channels where they differ."""
    others = [f"{one.channel}: {one.reason}" for one in each.channels if one.reason != each.reason]
    return f"{each.words} ({', '.join(others)})" if others else each.words


def _seen(value: object) -> object:
    return "unknown" if value is None else value
