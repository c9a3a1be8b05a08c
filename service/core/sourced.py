"""Settings that know where each of them came from, and show themselves without their secrets."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, PrivateAttr, SecretStr

from service.core.masking import MASK
from service.core.sources import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSetting:
    """A setting for people: a secret is masked, and of an address who logs in there."""

    name: str
    #: None where it is not set, and has no default.
    value: str | None
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class _Provenance:
    """Where settings were found, by their names; settings of the same values are the same wherever that was."""

    sources: Mapping[str, Source] = field(compare=False)


class Sourced(BaseModel):
    """Settings under the aliases of their fields; the context of the validation says where each was found."""

    _found: _Provenance = PrivateAttr(default_factory=lambda: _Provenance(sources={}))

    def model_post_init(self, context: Any, /) -> None:  # noqa: ANN401 - as pydantic has it
        """Keep where the settings were found."""
        self._found = _Provenance(sources=dict(context or {}))

    def shown(self) -> Iterator[ShownSetting]:
        """Yield every setting in its order, with its value in force."""
        for name, declared in type(self).model_fields.items():
            alias = str(declared.alias)
            value = getattr(self, name)
            otherwise = Source.DEFAULT if value == declared.get_default() else Source.CREDENTIALS
            source = self._found.sources.get(alias, otherwise)
            yield ShownSetting(name=alias, value=_text_of(value), source=source)


def _text_of(value: object) -> str | None:
    match value:
        case None:
            return None
        case SecretStr():
            return _without_secret(value.get_secret_value())
        case bool():
            return str(value).lower()
        case timedelta():
            return f"{value.total_seconds():g}"
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def _without_secret(text: str) -> str:
    """Return of an address its scheme, host, port and path; of anything else nothing."""
    try:
        parts = urlsplit(text)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return MASK
    is_address = "://" in text and parts.scheme and "@" not in parts.path
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}" if is_address else MASK
