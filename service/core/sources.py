"""Where a setting is looked for: the environment, the file that ``NAME_FILE`` names, ``/run/secrets/NAME``."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path

from service.core.errors import ConfigurationError

SECRETS_DIRECTORY = Path("/run/secrets")
PREFIX = "RELEASE_"
_FILE = "_FILE"
#: Of the letters of two names, the share in common from which one is taken for a slip of the other.
_LIKENESS = 0.85


class Source(StrEnum):
    """Where a setting came from."""

    DEFAULT = "default"
    ENVIRONMENT = "environment"
    FILE = "file"
    #: Beside the vendor's credentials.
    CREDENTIALS = "credentials"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The text of a setting, and where it was."""

    text: str = field(repr=False)
    source: Source


def read_setting(name: str, environment: Mapping[str, str], secrets: Path = SECRETS_DIRECTORY) -> str | None:
    """Look a setting up; white space around it does not count, and an empty one is none.

    Raises:
        ConfigurationError: the setting is no text, or its file cannot be read.
    """
    found = find_setting(name, environment, secrets)
    return None if found is None else found.text


def find_settings(
    names: Iterable[str], environment: Mapping[str, str], secrets: Path = SECRETS_DIRECTORY
) -> dict[str, Found]:
    """Look settings up; those that are not set are left out.

    Raises:
        ConfigurationError: as of ``read_setting``.
    """
    found = {name: find_setting(name, environment, secrets) for name in names}
    return {name: one for name, one in found.items() if one is not None}


def find_setting(
    name: str, environment: Mapping[str, str], secrets: Path = SECRETS_DIRECTORY
) -> Found | None:
    """Look a setting up as ``read_setting`` does, and say where it was.

    Raises:
        ConfigurationError: as of ``read_setting``.
    """
    value = environment.get(name, "").strip()
    if value:
        return Found(text=_checked(value, name), source=Source.ENVIRONMENT)
    named = environment.get(f"{name}{_FILE}")
    if named:
        return _in_file(_read(Path(named), named_by=f"{name}{_FILE}"))
    path = secrets / name
    return _in_file(_read(path, named_by=name)) if is_file(path) else None


def _in_file(text: str | None) -> Found | None:
    return None if text is None else Found(text=text, source=Source.FILE)


def is_file(path: Path) -> bool:
    """Tell whether a file is there; one in a directory that is closed to us is not."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def misspelt(environment: Mapping[str, str], known: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield each variable that is not ``known`` but nearly, with the name that was probably meant.

    Other names with our prefix are let be: Kubernetes sets some of its own for a Service named ``release``.
    """
    meant_by = {name.removeprefix(PREFIX): name for name in known}
    for given in sorted(environment):
        name = given.removesuffix(_FILE)
        if not name.startswith(PREFIX) or name in known or given in known:
            continue
        close = get_close_matches(name.removeprefix(PREFIX), meant_by, n=1, cutoff=_LIKENESS)
        if close:
            yield given, meant_by[close[0]] + given[len(name) :]


def _checked(value: str, name: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(f"{name}: expected UTF-8 text; given other bytes") from None
    return value


def _read(path: Path, *, named_by: str) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError as error:
        reason = error.strerror or "it cannot be read"
    except ValueError:
        reason = "it is not UTF-8 text"
    raise ConfigurationError(f"{named_by}: expected a readable file; given {str(path)!r}: {reason}")
