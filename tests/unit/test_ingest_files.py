"""Taking in files: what counts, what counts once, and what stays outside."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from tests.bank import NOW, PAYMENTS, Bank

from tilltal.core.errors import SourceError
from tilltal.runtime.intake.ingest import IngestError
from tilltal.runtime.intake.quarantine import entries, opened

HEAD = "message,customer,time,amount,shop\n"


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    bank = Bank(tmp_path)
    bank.write("sources/payments.yaml", PAYMENTS)
    return bank


def payment(message: str, customer: str = "K-1", amount: str = "1.00", time: str = "2026-05-01 10:00") -> str:
    return f"{message},{customer},{time},{amount},Kiosk\n"


def test_rows_become_typed_events(bank: Bank) -> None:
    bank.write(
        "data/payments.csv",
        HEAD + "m1,K-1,2026-05-01 10:00:00,12.50,Kiosk\nm2,K-2,2026-05-01T10:00:00Z,0.10,\n",
    )
    report = bank.ingest()
    assert (report.taken, report.quarantined) == (2, 0)
    assert bank.rows("events/payment", '"at", received, source, amount, shop', "amount") == [
        (datetime(2026, 5, 1, 10), datetime(2026, 5, 1, 10), "payments", 10, None),
        (datetime(2026, 5, 1, 8), datetime(2026, 5, 1, 8), "payments", 1250, "Kiosk"),
    ]


def test_the_same_file_again_changes_nothing(bank: Bank) -> None:
    bank.write("data/payments.csv", HEAD + payment("m1"))
    bank.ingest()
    before = bank.tree()
    report = bank.ingest(now=NOW + timedelta(hours=1))
    assert report.files[0].is_unchanged
    assert bank.tree() == before


def test_the_same_content_under_another_name_is_the_same_file(bank: Bank) -> None:
    bank.write("data/payments-1.csv", HEAD + payment("m1"))
    bank.write("data/payments-2.csv", HEAD + payment("m1"))
    assert [file.is_unchanged for file in bank.ingest().files] == [True, False]
    assert len(bank.rows("events/payment")) == 1


def test_a_grown_file_adds_only_its_new_messages(bank: Bank) -> None:
    bank.write("data/payments.csv", HEAD + payment("m1", amount="1.00"))
    bank.ingest()
    bank.write("data/payments.csv", HEAD + payment("m1", amount="9.00") + payment("m2", amount="2.00"))
    (file,) = bank.ingest().files
    assert (file.rows, file.taken, file.duplicate) == (2, 1, 1)
    assert bank.rows("events/payment", "amount") == [(100,), (200,)]


def test_a_message_counts_once_across_the_files_of_one_run(bank: Bank) -> None:
    bank.write("data/payments-1.csv", HEAD + payment("m1") + payment("m1", amount="5.00"))
    bank.write("data/payments-2.csv", HEAD + payment("m1", amount="7.00") + payment("m2", amount="2.00"))
    report = bank.ingest()
    assert [(file.taken, file.duplicate) for file in report.files] == [(1, 1), (1, 1)]
    assert bank.rows("events/payment", "amount") == [(100,), (200,)]


def test_message_ids_are_each_sources_own(bank: Bank) -> None:
    bank.write("sources/refunds.yaml", PAYMENTS.replace("data/payments", "data/refunds"))
    bank.write("data/payments.csv", HEAD + payment("m1"))
    bank.write("data/refunds.csv", HEAD + payment("m1"))
    assert bank.ingest().taken == 2
    ids = bank.rows("events/payment", "event_id")
    assert len(set(ids)) == 2


def test_without_ids_equal_rows_of_a_file_all_count_and_a_grown_file_does_not_double_them(bank: Bank) -> None:
    bank.write("sources/payments.yaml", PAYMENTS.replace("id: message\n", ""))
    row = payment("", amount="3.00")
    bank.write("data/payments.csv", HEAD + row * 2)
    assert bank.ingest().taken == 2
    bank.write("data/payments.csv", HEAD + row * 2 + payment("", amount="4.00") + row)
    (file,) = bank.ingest().files
    assert (file.taken, file.duplicate) == (2, 2)
    assert bank.rows("events/payment", "amount") == [(300,), (300,), (300,), (400,)]


def test_a_column_names_the_event_type_and_each_type_lies_apart(bank: Bank) -> None:
    bank.write(
        "sources/payments.yaml",
        PAYMENTS.replace("event: payment", "event: {column: kind, map: {C: card}, values: [atm]}"),
    )
    bank.write(
        "data/payments.csv",
        "message,customer,time,amount,shop,kind\n"
        "m1,K-1,2026-05-01,1,,C\nm2,K-1,2026-05-01,2,,atm\nm3,K-1,2026-05-01,3,,C\n",
    )
    bank.ingest()
    assert bank.rows("events/card", "amount") == [(100,), (300,)]
    assert bank.rows("events/atm", "amount") == [(200,)]


def test_a_kind_that_a_map_does_not_name_waits_in_quarantine_and_makes_no_new_type(bank: Bank) -> None:
    bank.write(
        "sources/payments.yaml",
        PAYMENTS.replace("event: payment", "event: {column: kind, map: {C: card}}") + "max_rejects: 1\n",
    )
    rows = "m1,K-1,2026-05-01,1,,C\nm2,K-1,2026-05-01,2,,card\nm3,K-1,2026-05-01,3,,fee\n"
    bank.write("data/payments.csv", f"message,customer,time,amount,shop,kind\n{rows}")
    report = bank.ingest()
    assert (report.taken, report.quarantined) == (2, 1)
    assert bank.rows("events/card", "amount") == [(100,), (200,)]
    (entry,) = entries(bank.store)
    with bank.vault() as vault:
        assert opened(vault, entry).reasons == ("event is 'fee', not one of its values",)


def test_arrival_times_are_kept_where_the_file_states_them(bank: Bank) -> None:
    bank.write("sources/payments.yaml", PAYMENTS + "received: arrived\n")
    bank.write(
        "data/payments.csv",
        "message,customer,time,amount,shop,arrived\n"
        "m1,K-1,2026-05-01 10:00,1,,2026-05-02 10:00\nm2,K-1,2026-05-01 10:00,1,,\n",
    )
    bank.ingest()
    assert bank.rows("events/payment", "received") == [
        (datetime(2026, 5, 1, 8),),
        (datetime(2026, 5, 2, 8),),
    ]


def test_records_count_from_their_time_or_from_the_stated_instant(bank: Bank) -> None:
    source = """
        kind: record
        read: {files: data/customers.csv}
        identities: {crm: customer}
        effective: 2020-01-01
        fields: {city: text, born: date}
        """
    bank.write("sources/customers.yaml", source)
    bank.write("data/customers.csv", "customer,city,born\nK-1,Ystad,1980-02-29\n")
    bank.ingest("customers")
    assert bank.rows("records/customers", '"at", received, city, born') == [
        (datetime(2019, 12, 31, 23), datetime(2019, 12, 31, 23), "Ystad", date(1980, 2, 29))
    ]


def test_holdings_are_known_from_their_opening_on(bank: Bank) -> None:
    source = """
        kind: holding
        read: {files: data/loans.csv}
        identities: {crm: customer}
        product: loan
        opened: start
        closed: end
        """
    bank.write("sources/loans.yaml", source)
    bank.write("data/loans.csv", "customer,start,end\nK-1,2024-01-15,9999-12-31\nK-2,2024-01-15,\n")
    bank.ingest("loans")
    assert bank.rows("holdings", "received, product, opened, closed", "closed NULLS LAST") == [
        (datetime(2024, 1, 14, 23), "loan", date(2024, 1, 15), date(9999, 12, 31)),
        (datetime(2024, 1, 14, 23), "loan", date(2024, 1, 15), None),
    ]


def test_a_later_file_that_closes_a_holding_is_news_of_the_day_it_closed(bank: Bank) -> None:
    source = """
        kind: holding
        read: {files: data/loans.csv}
        identities: {crm: customer}
        product: loan
        opened: start
        closed: end
        """
    bank.write("sources/loans.yaml", source)
    bank.write("data/loans.csv", "customer,start,end\nK-1,2024-01-15,\nK-2,2024-01-15,\n")
    bank.ingest("loans")
    bank.write("data/loans.csv", "customer,start,end\nK-1,2024-01-15,2026-03-02\nK-2,2024-01-15,9999-12-31\n")
    assert bank.ingest("loans").taken == 2
    assert bank.rows("holdings", "received, closed", "received, closed") == [
        (datetime(2024, 1, 14, 23), None),
        (datetime(2024, 1, 14, 23), None),
        (datetime(2026, 3, 1, 23), date(2026, 3, 2)),
        (datetime(2026, 5, 4, 12), date(9999, 12, 31)),
    ]


def test_consents_keep_purpose_channel_and_answer(bank: Bank) -> None:
    source = """
        kind: consent
        read: {files: data/consents.csv}
        identities: {crm: customer}
        at: time
        purpose: {column: why}
        channel: {column: where}
        granted: {column: answer, map: {ja: yes, nej: no}}
        """
    bank.write("sources/consents.yaml", source.replace("yes", "'true'").replace("no}", "'false'}"))
    bank.write(
        "data/consents.csv",
        "customer,time,why,where,answer\nK-1,2026-01-01,marketing,email,ja\nK-1,2026-01-02,marketing,,nej\n",
    )
    bank.ingest("consents")
    assert bank.rows("consents", "purpose, channel, granted", '"at"') == [
        ("marketing", "email", True),
        ("marketing", "*", False),
    ]


def test_what_happens_in_more_than_five_minutes_is_turned_away(bank: Bank) -> None:
    def at(moment: datetime) -> str:
        return moment.isoformat()

    bank.write("sources/payments.yaml", PAYMENTS + "max_rejects: 0.6\n")
    bank.write(
        "data/payments.csv",
        HEAD
        + payment("m1", time=at(NOW + timedelta(minutes=5)))
        + payment("m2", time=at(NOW + timedelta(minutes=5, seconds=1))),
    )
    report = bank.ingest()
    assert (report.taken, report.quarantined) == (1, 1)


def test_a_source_that_fails_changes_nothing_and_the_others_are_taken_in(bank: Bank) -> None:
    bank.write("sources/bad.yaml", PAYMENTS.replace("data/payments", "data/bad"))
    bank.write("data/bad-1.csv", HEAD + payment("m1"))
    bank.write("data/bad-2.csv", HEAD + payment("m2", amount="x"))
    bank.write("data/payments.csv", HEAD + payment("m1"))
    with pytest.raises(IngestError) as caught:
        bank.ingest()
    (fault,) = caught.value.faults
    assert fault.code == "S307"
    assert fault.place.file == "data/bad-2.csv"
    assert "row 1: amount is 'x', which is no money" in fault.message
    assert caught.value.report.taken == 1
    assert caught.value.exit_code == 3
    assert not any("bad" in name for name in bank.tree())


def test_an_unknown_source_is_named_with_its_neighbours(bank: Bank) -> None:
    with pytest.raises(SourceError, match=r"S310 There is no source 'payment'. Valid: payments."):
        bank.ingest("payment")


def test_leftovers_of_a_crash_are_no_part_of_history_and_go_at_the_next_ingest(bank: Bank) -> None:
    bank.write("data/payments.csv", HEAD + payment("m1"))
    bank.ingest()
    part = next(bank.store.history.rglob("payments-*.parquet"))
    stray = part.with_name("payments-0123456789abcdef-0.parquet")
    stray.write_bytes(part.read_bytes())
    assert len(bank.rows("events/payment")) == 1
    bank.ingest()
    assert not stray.exists()


def test_progress_tells_each_source_and_step(bank: Bank) -> None:
    from tilltal.runtime.intake.ingest import ingest

    class Steps:
        def __init__(self) -> None:
            self.told: list[tuple[str, int | None]] = []
            self.steps = 0

        def start(self, task: str, total: int | None) -> None:
            self.told.append((task, total))

        def advance(self, steps: int = 1) -> None:
            self.steps += steps

    bank.write("data/payments.csv", HEAD + payment("m1"))
    steps = Steps()
    ingest(bank.workspace, None, steps, now=datetime(2026, 5, 4, tzinfo=UTC))
    ((name, total),) = steps.told
    assert (name, total) == ("payments", steps.steps)
