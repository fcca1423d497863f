"""The routes of the tracking protocol."""

from __future__ import annotations

from functools import partial

from tilltal.api.collector.forms import FORMS, BatchForm
from tilltal.api.collector.intake import Collector, Taken
from tilltal.api.exchange import Exchange
from tilltal.api.settings import ApiSettings
from tilltal.runtime.live.contract import LiveService


def collector_exchanges(service: LiveService, settings: ApiSettings) -> tuple[Exchange, ...]:
    """Return `/v1/batch` and one route per type of message."""
    collector = Collector(service, settings)
    batch = Exchange(
        path="/v1/batch",
        name="collectBatch",
        summary="Take in messages sent together",
        scope="collect",
        tag="collect",
        takes=BatchForm,
        gives=Taken,
        answer=collector.batch,
        is_key_in_body=True,
    )
    singles = (
        Exchange(
            path=f"/v1/{kind}",
            name=f"collect{kind.capitalize()}",
            summary=f"Take in one message: {kind}",
            scope="collect",
            tag="collect",
            takes=form,
            gives=Taken,
            answer=partial(collector.single, kind),
            is_key_in_body=True,
        )
        for kind, form in FORMS.items()
    )
    return (batch, *singles)
