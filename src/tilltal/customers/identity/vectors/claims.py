"""Owners of devices over arrays: see `identity.ownership` for what a span is."""

from __future__ import annotations

import msgspec
import numpy as np

from tilltal.customers.identity.rules import Rules
from tilltal.customers.identity.vectors.joining import Joined, components, tie_keys
from tilltal.customers.identity.vectors.sightings import Ints, Sightings, starts

ALWAYS, OPEN = np.iinfo(np.int64).min, np.iinfo(np.int64).max


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """Who owns a device's anonymous activity, half open in time.

    One row per device and span: `device` (a node), `start` and `end` in microseconds (ALWAYS and OPEN are
    without bound), `owner` (first node of a group).
    """

    device: Ints
    start: Ints
    end: Ints
    owner: Ints


class _Points(msgspec.Struct, frozen=True, kw_only=True):
    """Logins by cluster (its first device) and time, and the owner each speaks for."""

    cluster: Ints
    at: Ints
    owner: Ints

    def only(self, chosen: Ints) -> _Points:
        return _Points(cluster=self.cluster[chosen], at=self.at[chosen], owner=self.owner[chosen])


def claims_of(seen: Sightings, joined: Joined, rules: Rules) -> Claims:
    """Return the spans of owners of every device that anybody ever owned."""
    devices = np.flatnonzero(~seen.is_person & ~seen.is_shared)
    if rules.is_current_holder:
        return _held_now(seen, joined, devices)
    cluster = _clusters(seen, joined)
    spans = _spans(_points(seen, joined, cluster, rules), rules)
    order = np.argsort(cluster[devices], kind="stable")
    begin = np.searchsorted(spans.device, cluster[devices[order]], side="left")
    count = np.searchsorted(spans.device, cluster[devices[order]], side="right") - begin
    which = np.repeat(begin - np.cumsum(count) + count, count) + np.arange(count.sum())
    return Claims(
        device=np.repeat(devices[order], count),
        start=spans.start[which],
        end=spans.end[which],
        owner=spans.owner[which],
    )


def _held_now(seen: Sightings, joined: Joined, devices: Ints) -> Claims:
    has_person = np.zeros(seen.count, dtype=np.bool_)
    has_person[joined.group[seen.is_person]] = True
    held = devices[has_person[joined.group[devices]]]
    return Claims(
        device=held,
        start=np.full(len(held), ALWAYS),
        end=np.full(len(held), OPEN),
        owner=joined.group[held],
    )


def _clusters(seen: Sightings, joined: Joined) -> Ints:
    """Return the first device of each device's cluster: joined by kept links between devices."""
    links = joined.links
    kept = (joined.reason == "") & ~seen.is_person[links.a] & ~seen.is_person[links.b]
    one = np.flatnonzero((seen.same != np.arange(seen.count)) & ~seen.is_person)
    return components(
        seen.count, np.concatenate([links.a[kept], one]), np.concatenate([links.b[kept], seen.same[one]])
    )


def _points(seen: Sightings, joined: Joined, cluster: Ints, rules: Rules) -> _Points:
    """Return the logins by cluster and time, each time once: of equal times the first by the tie rule."""
    used = seen.is_evidence[seen.row] & ~seen.is_shared[seen.node]
    row, node = seen.row[used], seen.node[used]
    personal = seen.is_person[node]
    first = starts(row[personal])
    anchor = np.full(len(seen.at), -1)
    anchor[row[personal][first]] = node[personal][first]
    is_login = ~personal & (anchor[row] >= 0)
    row, device, person = row[is_login], node[is_login], anchor[row[is_login]]
    ranged = seen.last_at[row] != seen.at[row]
    at = np.concatenate([seen.at[row], seen.last_at[row][ranged]])
    device, person = np.concatenate([device, device[ranged]]), np.concatenate([person, person[ranged]])
    points = _Points(cluster=cluster[device], at=at, owner=joined.group[person])
    chosen = _undecided(points, rules)
    device, person, points = device[chosen], person[chosen], points.only(chosen)
    points_order = np.lexsort((*tie_keys(person, device, seen, rules), points.at, points.cluster))
    points = points.only(points_order)
    is_first = np.union1d(starts(points.cluster), starts(points.at))
    return points.only(is_first)


def _undecided(points: _Points, rules: Rules) -> Ints:
    """Return the logins that matter: where one owner always owns all, any one of a cluster's will do."""
    if rules.vouch_us is not None or rules.lookback_us is not None:
        return np.arange(len(points.cluster))
    size = int(points.cluster.max(initial=-1)) + 1
    low, high = np.full(size, OPEN), np.full(size, -1)
    np.minimum.at(low, points.cluster, points.owner)
    np.maximum.at(high, points.cluster, points.owner)
    several = np.flatnonzero(low[points.cluster] != high[points.cluster])
    _, one = np.unique(points.cluster, return_index=True)
    return np.union1d(several, one)


def _spans(points: _Points, rules: Rules) -> Claims:
    """Return one span per login, joined where the same owner goes on; `device` is the cluster."""
    at, count = points.at, len(points.at)
    follows = np.zeros(count, dtype=np.bool_)
    follows[1:] = points.cluster[1:] == points.cluster[:-1]
    is_followed = np.append(follows[1:], False)[:count]
    lapse = np.full(count, OPEN) if rules.vouch_us is None else at + rules.vouch_us + 1
    back = np.full(count, ALWAYS) if rules.lookback_us is None else at - rules.lookback_us
    free = np.where(follows, np.roll(lapse, 1), ALWAYS)
    start = np.minimum(at, np.maximum(back, free))
    end = np.minimum(np.where(is_followed, np.roll(at, -1), OPEN), lapse)
    goes_on = np.zeros(count, dtype=np.bool_)
    goes_on[1:] = follows[1:] & (points.owner[1:] == points.owner[:-1]) & (start[1:] == end[:-1])
    first = np.flatnonzero(~goes_on)
    last = np.append(first[1:], count)[: len(first)] - 1
    return Claims(device=points.cluster[first], start=start[first], end=end[last], owner=points.owner[first])
