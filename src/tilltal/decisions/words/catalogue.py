"""What a catalogue of words has: a text for each reason, with places for names.

A text is a sentence without its full stop. Places are those named in the comments here; a test holds every
language to them.
"""

from __future__ import annotations

import msgspec


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """The words of one language; `language` is its code (ISO 639-1)."""

    language: str

    # the stages of the engagement policy, and what a rule of them asks for: {rule}
    eligibility: str
    applicability: str
    suitability: str
    needed: str
    not_started: str
    expired: str

    # the contact policy: {rule}; of consents {purpose} and {channel}
    no_consent: str
    quiet_hours: str
    cooldown: str
    cap: str
    holdout: str
    no_channel: str
    no_time_to_reserve: str
    not_tried: str
    capacity: str
    not_named: str
    contact_policy: str

    # the ranking: {action} is the one that went before
    outranked: str
    tie_name: str
    mandatory: str
    group_limit: str
    issue_limit: str
    not_positive: str
    below_nothing: str
    invalid_propensity: str
    invalid_value: str

    # whoever is not yet among those that a new action is open to
    not_open: str

    # what spoke for an action: {rule}, {model}, {before}, {after}, {share}
    relevant: str
    allowed: str
    goes_first: str
    predicted: str
    adds: str
    no_effect: str
    learned: str
    drawn: str
    learns: str
    assumed: str
    corrected: str

    # when it is sent: {hours} of the day, such as 18–19
    own_rhythm: str
    population_rhythm: str
    first_allowed: str

    # what was missing when it was decided: {model}
    model_missing: str
    model_untrained: str
    model_unreadable: str
    model_names: str
    model_types: str
    model_damaged: str
    model_format: str
    adaptive_damaged: str
    time_over: str
    cut_short: str
    not_logged: str
    nobody_known: str

    # what an explanation lacks
    definitions_lost: str
    came_out_otherwise: str
