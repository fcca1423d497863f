"""A store whose history stands still for whoever looks at it more than once."""

from __future__ import annotations

from functools import cached_property

from tilltal.runtime.storage.store import Manifest, Store


class StillStore(Store):
    """A store as of the first question about its manifests; what is accepted later is not there.

    For readers of both the log and the files: a compaction that ends between two questions
    would show its rows to neither, or twice.
    """

    def manifests(self, source: str | None = None) -> tuple[Manifest, ...]:
        """See `Store`."""
        return tuple(one for one in self._manifests if source in (None, one.source))

    @cached_property
    def _manifests(self) -> tuple[Manifest, ...]:
        return super().manifests()
