"""Checks the webhooks of `tilltal.yaml`: whom they call, and of which audiences they tell."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from tilltal.core.errors import Fault
from tilltal.workspace.checks.scope import At, Scope


def check_webhooks(scope: Scope) -> Iterator[Fault]:
    """Yield the faults of all webhooks."""
    at = At(scope.workspace, "tilltal.yaml")
    for name, hook in scope.workspace.settings.server.webhooks.items():
        path = ("server", "webhooks", name)
        if not _is_address(hook.url):
            message = f"{hook.url!r} is no address that a webhook can call."
            hint = "Write one of http or https with a host, such as 'https://crm.example/tilltal'."
            yield at.fault("W139", message, *path, "url", hint=hint)
        yield from at.all_known("audience", hook.audiences, scope.workspace.audiences, *path, "audiences")


def _is_address(text: str) -> bool:
    if not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
        is_port = parts.port != 0  # out of range, or no number, is a ValueError
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and is_port
