"""What the HTTP face counts: requests by route and status, their time, what is open."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

from tilltal.runtime.live.contract import Sample

_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
_SECONDS = "tilltal_http_request_seconds"
_TIME_HELP = "Time from a request's headers to the end of its answer."


class _Timed:
    """The times of one route."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS) + 1)
        self.total = 0.0


class Figures:
    """Counts requests. Routes are templates, so that labels are few and name nobody."""

    def __init__(self) -> None:
        self.under_way = 0
        self._requests: dict[tuple[str, str, int], int] = {}
        self._times: dict[str, _Timed] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        key = (method, route, status)
        self._requests[key] = self._requests.get(key, 0) + 1
        timed = self._times.get(route)
        if timed is None:
            timed = self._times[route] = _Timed()
        timed.counts[bisect_left(_BOUNDS, seconds)] += 1
        timed.total += seconds

    def samples(self) -> Iterator[Sample]:
        """Return all figures as they stand."""
        for (method, route, status), count in self._requests.items():
            yield Sample(
                name="tilltal_http_requests_total",
                kind="counter",
                help="Requests answered.",
                value=count,
                labels={"method": method, "route": route, "status": str(status)},
            )
        yield Sample(
            name="tilltal_http_under_way", kind="gauge", help="Requests under way.", value=self.under_way
        )
        for route, timed in self._times.items():
            yield from _histogram(route, timed)


def _histogram(route: str, timed: _Timed) -> Iterator[Sample]:
    so_far = 0
    for bound, count in zip((*_BOUNDS, None), timed.counts, strict=True):
        so_far += count
        edge = "+Inf" if bound is None else f"{bound:g}"
        labels = {"route": route, "le": edge}
        yield Sample(
            name=_SECONDS, kind="histogram", help=_TIME_HELP, value=so_far, labels=labels, suffix="_bucket"
        )
    labels = {"route": route}
    yield Sample(
        name=_SECONDS, kind="histogram", help=_TIME_HELP, value=timed.total, labels=labels, suffix="_sum"
    )
    yield Sample(
        name=_SECONDS, kind="histogram", help=_TIME_HELP, value=so_far, labels=labels, suffix="_count"
    )
