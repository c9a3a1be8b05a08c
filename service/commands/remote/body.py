"""Makes the body of a release request of what a command was given."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from service.commands.remote.filters import read_label
from service.core.errors import ConfigurationError

#: What to fill in; members that are null may stay so.
SKELETON: Mapping[str, Any] = {
    "project_id": None,
    "workspace": None,
    "apply_user_id": "",
    "approver_ids": [""],
    "pending_item_list": [""],
    "package_name": None,
    "not_before": None,
    "deadline": None,
    "priority": "normal",
    "labels": {},
    "note": None,
}
_LISTS = ("approver_ids", "pending_item_list")


def read_json(source: str) -> Any:  # noqa: ANN401 - any JSON
    """Read JSON of ``@FILE``, of standard input for ``-``, or of the text itself.

    Raises:
        ConfigurationError: it cannot be read, or is no JSON.
    """
    try:
        return orjson.loads(_text_of(source))
    except OSError as error:
        raise ConfigurationError(
            f"--json: expected a readable file; {source[1:]}: {error.strerror}"
        ) from None
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"--json: expected JSON, @FILE, or - for standard input; {error}") from None


def _text_of(source: str) -> bytes:
    if source == "-":
        return sys.stdin.buffer.read()
    if source.startswith("@"):
        return Path(source[1:]).read_bytes()
    return source.encode(errors="surrogateescape")


def body_of(document: object, options: Mapping[str, Any]) -> dict[str, Any]:
    """Put the options that were given over the members of a JSON object.

    Raises:
        ConfigurationError: the JSON is no object.
    """
    if not isinstance(document, dict):
        raise ConfigurationError(f"--json: expected an object; given {type(document).__name__}")
    given = {name: value for name, value in options.items() if value}
    for name in _LISTS:
        if name in given:
            given[name] = [part for text in given[name] for part in text.split(",") if part]
    if "labels" in given:
        given["labels"] = dict(map(read_label, given["labels"]))
    return {**document, **given}
