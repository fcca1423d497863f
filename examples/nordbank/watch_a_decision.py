"""Send two page views with a real client of the tracking API, and watch the next best action change.

.venv/bin/tilltal serve demo                  # in another terminal; it prints a key
.venv/bin/pip install segment-analytics-python==2.4.0
.venv/bin/python examples/nordbank/watch_a_decision.py demo KEY
"""

from __future__ import annotations

import csv
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from segment.analytics import Client

SERVER = "http://127.0.0.1:8400"


def customers(workspace: Path) -> Iterator[str]:
    """Give customer numbers of the demo bank's CRM."""
    for path in sorted((workspace / "data" / "crm").glob("kunder-*.csv")):
        with path.open(encoding="cp1252", newline="") as lines:
            yield from (row["Kundnummer"] for row in csv.DictReader(lines, delimiter=";"))


def decide(key: str, customer: str) -> list[str]:
    """Ask for a customer's next best actions."""
    request = urllib.request.Request(  # noqa: S310 - the address is the one above
        f"{SERVER}/v1/decide",
        data=json.dumps({"identity": {"customer": customer}}).encode(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - likewise
            return [action["title"] for action in json.load(answer)["actions"]]
    except urllib.error.HTTPError as error:
        sys.exit(f"The server refused: {json.load(error)['message']}")
    except urllib.error.URLError as error:
        sys.exit(f"Nobody answers at {SERVER} ({error.reason}): is `tilltal serve` ready?")


def main() -> None:
    """Try customers until one's decision changes."""
    if len(sys.argv) != 3:
        sys.exit("Name the workspace and a key: watch_a_decision.py demo KEY")
    workspace, key = Path(sys.argv[1]), sys.argv[2]
    if not any(customers(workspace)):
        sys.exit(f"There are no customers in {workspace}/data/crm: is that the demo's folder?")
    client = Client(key, host=SERVER, sync_mode=True)
    for customer in customers(workspace):
        before = decide(key, customer)
        for _ in range(2):
            client.track(customer, "Page Viewed", {"topic": "mortgage"})
        after = decide(key, customer)
        if after != before:
            print(f"customer {customer}")
            print(f"  before        {', '.join(before) or 'nothing'}")
            print(f"  two pages on  {', '.join(after)}")
            return
    print("Nobody's decision changed.")


if __name__ == "__main__":
    main()
