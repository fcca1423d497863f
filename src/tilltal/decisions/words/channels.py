"""What channels are called: those that many banks have; of others the name says it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

CHANNELS: Mapping[str, Mapping[str, str]] = MappingProxyType({
    "sv": {
        "email": "e-post",
        "sms": "sms",
        "push": "pushnotis",
        "call": "telefon",
        "letter": "brev",
        "banner": "banner",
        "popup": "popupruta",
        "branch": "kontor",
    },
    "nb": {
        "email": "e-post",
        "sms": "SMS",
        "push": "pushvarsel",
        "call": "telefon",
        "letter": "brev",
        "banner": "banner",
        "popup": "popup-vindu",
        "branch": "filial",
    },
    "en": {
        "email": "e-mail",
        "sms": "text message",
        "push": "push message",
        "call": "telephone",
        "letter": "letter",
        "banner": "banner",
        "popup": "pop-up",
        "branch": "branch office",
    },
    "ru": {
        "email": "электронная почта",
        "sms": "СМС",
        "push": "пуш-уведомление",
        "call": "телефон",
        "letter": "письмо",
        "banner": "баннер",
        "popup": "всплывающее окно",
        "branch": "отделение",
    },
})  # fmt: skip
"""Language → channel → what it is called."""


def channel_in(language: str, channel: str) -> str:
    """Return what a channel is called in a language.

    >>> channel_in("sv", "email"), channel_in("sv", "agent_desk")
    ('e-post', 'agent desk')
    """
    return CHANNELS.get(language, {}).get(channel) or channel.replace("_", " ")
