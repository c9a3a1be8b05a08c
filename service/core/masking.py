"""Keeps secrets out of log lines: by the name of a field, by how a text is written, and by known values."""

import json
import re
from collections.abc import Iterable, MutableMapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID

MASK = "***"
#: Shorter values would mask ordinary words.
_SHORTEST_SECRET = 6
#: Deeper values are shown, if at all, as text.
_MAX_DEPTH = 8
_NAMES = frozenset(
    {"api_key", "cookie", "database_url", "dsn", "redis_url", "secret_key", "set_cookie", "x_auth_token"}
)
_NAME_ENDINGS = ("authorization", "password", "passwd", "secret", "security_token", "subject_token", "token")
_NAME_IN_TEXT = re.compile(
    r"""(?P<name>authorization|password|passwd|secret(?:[_-]key)?|api[_-]key|token)
        (?P<sign>["']?\s*[:=]\s*)
        (?:
            "(?:[^"\\\n]|\\.)*"? | '(?:[^'\\\n]|\\.)*'?
            | (?:bearer|basic)\s+\S+ | sdk-hmac-sha256[^\n"']*
            | [^\s,;&"')\]}]+
        )
    """,
    re.IGNORECASE | re.VERBOSE,
)
_PASSWORD_IN_URL = re.compile(r"(?P<before>://[^\s:/@]*:)[^\s/]+@")
_OUR_API_KEY = re.compile(r"rel_[A-Za-z0-9_-]{43}")


def mask_secrets(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask the fields of an event, however deep, whose names or texts say that they hold a secret."""
    return {name: MASK if _is_secret(name) else _masked(value, _MAX_DEPTH) for name, value in event.items()}


def mask_text(text: str) -> str:
    """Mask what follows the name of a secret, passwords in URLs, and API keys of ours."""
    if ":" in text or "=" in text:
        text = _NAME_IN_TEXT.sub(rf"\g<name>\g<sign>{MASK}", text)
        text = _PASSWORD_IN_URL.sub(rf"\g<before>{MASK}@", text)
    return _OUR_API_KEY.sub(MASK, text)


class ValueMask:
    """Masks known secret values in a finished line, in each way in which a line may spell them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        spellings = {spelling for secret in secrets for spelling in _spellings(secret)}
        long_enough = (spelling for spelling in spellings if len(spelling) >= _SHORTEST_SECRET)
        self._spellings = tuple(sorted(long_enough, key=len, reverse=True))

    def __call__(self, _logger: object, _method: str, line: Any) -> str:  # noqa: ANN401 - structlog types no line
        """Return the line without the secrets."""
        text = str(line)
        for spelling in self._spellings:
            text = text.replace(spelling, MASK)
        return text


def _is_secret(name: object) -> bool:
    if not isinstance(name, str):
        return False
    plain = name.lower().replace("-", "_")
    return plain in _NAMES or plain.endswith(_NAME_ENDINGS)


def _masked(value: object, depth: int) -> object:
    match value:
        case str():
            return mask_text(value)
        case dict() if depth:
            return {
                name if isinstance(name, str) else safe_repr(name): (
                    MASK if _is_secret(name) else _masked(child, depth - 1)
                )
                for name, child in value.items()
            }
        case list() | tuple() if depth:
            return [_masked(child, depth - 1) for child in value]
        case None | bool() | int() | float() | UUID() | datetime():
            return value
        case _:
            return mask_text(safe_repr(value))


def safe_repr(value: object) -> str:
    """Return the ``repr`` of anything, also of an object whose ``repr`` fails."""
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - an object of anybody's may raise anything
        return f"<{type(value).__name__} without a repr: {type(error).__name__}>"


def _spellings(secret: str) -> Iterable[str]:
    for value in {secret, *_passwords_in(secret)}:
        for quoted in (json.dumps(value), json.dumps(value, ensure_ascii=False), repr(value)):
            yield quoted[1:-1]
        yield value


def _passwords_in(secret: str) -> Iterable[str]:
    try:
        password = urlsplit(secret).password
    except ValueError:
        return ()
    return () if password is None else (password, unquote(password))
