"""Errors as answers: problem+json (RFC 9457) with the codes of the command line.

    ApiError                   this face's own: keys, forms, limits (H6xx), with its status
    TilltalError               from below; its status comes from the code, see `status_of`
    Busy, Unavailable          429 and 503 with Retry-After

Every body has `code` and `message` at its top: clients of the tracking protocol read them.
"""

from __future__ import annotations

import http
import logging
import math

import msgspec
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException

from tilltal.core.errors import EngineError, Fault, Place, TilltalError
from tilltal.runtime.live.contract import Busy, Unavailable

PROBLEM = "application/problem+json"
_LOG = logging.getLogger("tilltal.api")

# Codes from below whose status is neither 400 nor, for an engine's, 500.
_STATUSES = {"P365": 404, "P366": 404, "E501": 503, "E504": 503, "E507": 503, "E530": 503, "E536": 503}
_RETRY_SECONDS = 5.0

# What callers are told of an engine's error; its own words name files and hosts, and go to the log.
_AWAY = "The operational store cannot be reached."
_REFUSED = "The operational store refused this."


class ProblemItem(msgspec.Struct, frozen=True, kw_only=True):
    """One fault of a problem, as the command line would show it."""

    code: str
    message: str
    place: str = ""
    valid: tuple[str, ...] = ()
    hint: str = ""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every error. `code` and `message` are those of the first of `errors`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    message: str
    request_id: str = ""
    errors: tuple[ProblemItem, ...] = ()


class Reply(msgspec.Struct, frozen=True):
    """An answer ready to be sent; `headers` are in addition to type and length."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()


class ApiError(Exception):
    """A request that cannot be served as it is."""

    def __init__(self, status: int, fault: Fault, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        self.status = status
        self.fault = fault
        self.headers = headers
        super().__init__(str(fault))


class Disconnected(Exception):  # noqa: N818 - nobody is there to be told
    """The client went away before its request was complete."""


def api_error(
    status: int, code: str, message: str, *, place: str = "", valid: tuple[str, ...] = (), hint: str = ""
) -> ApiError:
    """Make an error of one fault; `place` says where in the request, such as `$.count`."""
    return ApiError(
        status, Fault(code=code, message=message, place=Place(file=place), valid=valid, hint=hint)
    )


def reply_to(error: BaseException, request_id: str) -> Reply:
    """Return the answer to whatever went wrong; the unforeseen is logged and told as H613 only."""
    status, faults, headers = _read(error)
    if status == http.HTTPStatus.INTERNAL_SERVER_ERROR:
        _LOG.error("request %s failed", request_id, exc_info=error)
    elif isinstance(error, EngineError | Unavailable):
        _LOG.warning("request %s not served: %s", request_id, error)
    items = tuple(_item(fault) for fault in faults)
    problem = Problem(
        type=f"urn:tilltal:error:{items[0].code}",
        title=http.HTTPStatus(status).phrase,
        status=status,
        detail=" ".join(_sentence(fault) for fault in faults),
        code=items[0].code,
        message=items[0].message,
        request_id=request_id,
        errors=items,
    )
    return Reply(status, msgspec.json.encode(problem), PROBLEM, headers)


def status_of(error: TilltalError) -> int:
    """Return the HTTP status of an error from below: that of its first fault's code."""
    default = 500 if isinstance(error, EngineError) else 400
    return _STATUSES.get(error.faults[0].code, default)


_Read = tuple[int, tuple[Fault, ...], tuple[tuple[bytes, bytes], ...]]


def _read(error: BaseException) -> _Read:
    match error:
        case ApiError():
            return error.status, (error.fault,), error.headers
        case Busy():
            fault = Fault(code="H611", message="the server is busy", hint="Send it again later.")
            return 429, (fault,), _retry_after(error.retry_after)
        case Unavailable():
            return 503, (_unavailable(error),), _retry_after(error.retry_after)
        case TilltalError():
            status = status_of(error)
            headers = _retry_after(_RETRY_SECONDS) if status == 503 else ()
            return status, _tellable(error, status), headers
        case HTTPException():
            return _read_framework(error)
        case _:
            return 500, (Fault(code="H613", message="something went wrong inside"),), ()


def _read_framework(error: HTTPException) -> _Read:
    """Read what Litestar itself refuses: routes, methods, parameters."""
    if isinstance(error, NotFoundException):
        fault = Fault(code="H609", message="there is no such route", hint="See /schema/openapi.json.")
        return 404, (fault,), ()
    if isinstance(error, MethodNotAllowedException):
        headers = tuple((k.lower().encode(), v.encode()) for k, v in (error.headers or {}).items())
        return 405, (Fault(code="H610", message="this route has no such method"),), headers
    if error.status_code >= 500:
        return 500, (Fault(code="H613", message="something went wrong inside"),), ()
    return error.status_code, _parameter_faults(error), ()


def _parameter_faults(error: HTTPException) -> tuple[Fault, ...]:
    found = error.extra if isinstance(error.extra, list) else []
    faults = tuple(
        Fault(code="H614", message=str(each.get("message", "")), place=Place(file=str(each.get("key", ""))))
        for each in found
        if isinstance(each, dict)
    )
    return faults or (Fault(code="H614", message=error.detail),)


def _tellable(error: TilltalError, status: int) -> tuple[Fault, ...]:
    """Return the faults as callers may know them: an engine's by its code alone."""
    if not isinstance(error, EngineError):
        return error.faults
    hint = "Send it again later." if status == 503 else "The server's log has it under the request id."
    return (Fault(code=error.faults[0].code, message=_of_store(error), hint=hint),)


def _of_store(error: EngineError) -> str:
    return _AWAY if error.faults[0].code == "E530" else _REFUSED


def _unavailable(error: Unavailable) -> Fault:
    reason = _of_store(error.__cause__) if isinstance(error.__cause__, EngineError) else error.reason
    return Fault(code="H612", message=f"the service is not available: {reason}", hint="Send it again later.")


def _retry_after(seconds: float) -> tuple[tuple[bytes, bytes], ...]:
    """Return the header as clients understand it: whole seconds, at least one."""
    whole = max(1, math.ceil(seconds))
    return ((b"retry-after", str(whole).encode()),)


def _sentence(fault: Fault) -> str:
    """Say a fault in words, for people; `errors` has its parts."""
    place = f"{fault.place}: " if str(fault.place) else ""
    valid = f" Valid: {', '.join(fault.valid)}." if fault.valid else ""
    return f"{place}{fault.message.rstrip('.')}.{valid} {fault.hint}".rstrip()


def _item(fault: Fault) -> ProblemItem:
    return ProblemItem(
        code=fault.code,
        message=fault.message,
        place=str(fault.place),
        valid=fault.valid,
        hint=fault.hint,
    )
