"""One call to IAM: a password for a token of a project.

Source: Identity and Access Management API reference, "Obtaining a User Token Through Password
Authentication".
"""

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus

import orjson
from yarl import URL

from service.core.outcomes import NotSent, NotSentCause
from service.gateways.vendor.answer import Answer, NoAnswer
from service.gateways.vendor.config import TokenCredentials
from service.gateways.vendor.exchange import Exchange
from service.gateways.vendor.outgoing import OutgoingRequest
from service.gateways.vendor.words import json_object, vendor_error, wordless_error

MAX_TOKEN_ANSWER_BYTES = 1 << 20
#: Documented life of a token, used where the answer does not say it.
DEFAULT_LIFE = timedelta(hours=24)
_AHEAD = timedelta(minutes=30)
_USED_SHARE_OF_LIFE = 0.9
_WRONG_CREDENTIALS = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An IAM token and its life on our monotonic clock, which no clock skew can move."""

    value: str = field(repr=False)
    #: ``time.monotonic()`` from which a new one is bought.
    refresh_at: float
    #: ``time.monotonic()`` from which the vendor refuses it.
    expires_at: float


async def buy_token(exchange: Exchange, credentials: TokenCredentials, *, project_id: str) -> Token | NotSent:
    """Ask IAM for a token of a project."""
    asked_at = time.monotonic()
    reply = await exchange.send(token_request(credentials, project_id=project_id))
    match reply:
        case Answer(status=HTTPStatus.CREATED):
            return _token_in(reply, asked_at)
        case Answer():
            return NotSent(cause=_cause_of(reply), error=vendor_error(reply))
        case NoAnswer():
            return NotSent(cause=NotSentCause.UNREACHABLE, error=wordless_error(f"IAM: {reply.detail}"))


def token_request(credentials: TokenCredentials, *, project_id: str) -> OutgoingRequest:
    """Build the request for a token of a project, without the catalog that nobody reads."""
    url = URL(f"{credentials.iam_url.rstrip('/')}/v3/auth/tokens?nocatalog=true", encoded=True)
    return OutgoingRequest(
        method="POST",
        url=url,
        headers={"Content-Type": "application/json;charset=utf8"},
        body=orjson.dumps(_token_body(credentials, project_id)),
        max_bytes=MAX_TOKEN_ANSWER_BYTES,
    )


def refresh_after(life: timedelta) -> timedelta:
    """Return the age at which a token is replaced: half an hour before its end, or 90 % of a short life."""
    return max(life - _AHEAD, life * _USED_SHARE_OF_LIFE)


def _token_body(credentials: TokenCredentials, project_id: str) -> dict[str, object]:
    user = {
        "name": credentials.user,
        "password": credentials.password,
        "domain": {"name": credentials.domain},
    }
    identity = {"methods": ["password"], "password": {"user": user}}
    return {"auth": {"identity": identity, "scope": {"project": {"id": project_id}}}}


def _token_in(answer: Answer, asked_at: float) -> Token | NotSent:
    value = answer.headers.get("x-subject-token", "")
    if not value:
        error = wordless_error("IAM answered 201 without X-Subject-Token")
        return NotSent(cause=NotSentCause.UNAVAILABLE, error=error)
    life = _life_in(answer)
    return Token(
        value=value,
        refresh_at=asked_at + refresh_after(life).total_seconds(),
        expires_at=asked_at + life.total_seconds(),
    )


def _life_in(answer: Answer) -> timedelta:
    token = (json_object(answer.body) or {}).get("token")
    members = token if isinstance(token, dict) else {}
    expires_at = _moment(members.get("expires_at"))
    issued_at = _moment(members.get("issued_at")) or answer.received_at
    if expires_at is None:
        return DEFAULT_LIFE
    return max(expires_at - issued_at, timedelta())


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment


def _cause_of(answer: Answer) -> NotSentCause:
    return NotSentCause.AUTHENTICATION if answer.status in _WRONG_CREDENTIALS else NotSentCause.UNAVAILABLE
