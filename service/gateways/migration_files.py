"""The rules of migration files: how they are read, numbered and compared with what a database has.

The format is dbmate's (its README, "Migration files"), so dbmate stays usable on the same files: a line
``-- migrate:up`` before the SQL, with options behind it, and an optional ``-- migrate:down`` part, ignored.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import service
from service.core.errors import MigrationError

_FILE_NAME = re.compile(r"(?P<version>\d{4})_(?P<name>[a-z0-9_]+)\.sql")
_UP = re.compile(r"^--\s*migrate:up\b(?P<options>.*)$", re.MULTILINE)
_DOWN = re.compile(r"^--\s*migrate:down\b.*$", re.MULTILINE)
_DEFAULT_OPTIONS = {"transaction": "true", "lock_timeout": "4s", "statement_timeout": "60s"}
#: What may hold a semicolon that ends no statement, then the semicolon that does.
_SQL_TOKEN = re.compile(
    r"""[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*" | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$"""
    r""" | --[^\n]* | /\*.*?\*/ | (?P<end>;)""",
    re.VERBOSE | re.DOTALL,
)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One file: the SQL that brings the schema one step on."""

    #: Four digits.
    version: str
    name: str
    #: SHA-256 of the file with Unix line ends.
    checksum: str
    #: What runs in one go: the whole file in a transaction, else each statement alone.
    scripts: tuple[str, ...]
    is_transactional: bool
    #: PostgreSQL's words for a duration; ``0`` is none.
    lock_timeout: str
    statement_timeout: str

    @property
    def file_name(self) -> str:
        """The file's name."""
        return f"{self.version}_{self.name}.sql"


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedMigration:
    """What a database says of a migration that it has."""

    version: str
    name: str
    checksum: str


class MigrationState(StrEnum):
    """How a migration stands in a database."""

    APPLIED = "applied"
    PENDING = "pending"
    #: Applied, and the file says something else now.
    EDITED = "edited"
    #: Applied by a newer version of the code.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationStatus:
    """One line of ``migrate --status``."""

    version: str
    name: str
    state: MigrationState


def migrations_directory() -> Path:
    """Return where the service's own migrations are: in the installed package, else beside it."""
    package = Path(service.__file__).resolve().parent
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"


def find_migrations(directory: Path) -> tuple[Migration, ...]:
    """Read the migrations of a directory, in order.

    Raises:
        MigrationError: There are none, a file is not in the format, or the numbers are not 1, 2, 3, … .
    """
    files = sorted(directory.glob("*.sql"))
    if not files:
        raise MigrationError(f"{directory} has no migrations: install the service again.")
    migrations = tuple(parse_migration(file.name, file.read_text(encoding="utf-8")) for file in files)
    check_numbers(migrations)
    return migrations


def parse_migration(file_name: str, text: str) -> Migration:
    """Read one migration file.

    Options stand behind ``-- migrate:up`` as ``name:value``: ``transaction:false``, and ``lock_timeout`` and
    ``statement_timeout`` with PostgreSQL's durations.

    Raises:
        MigrationError: The name or the text is not in the format.
    """
    named = _FILE_NAME.fullmatch(file_name)
    if named is None:
        raise MigrationError(f"{file_name} is no name for a migration: use NNNN_name.sql with small letters.")
    script, options = _read_up(file_name, text)
    is_transactional = options["transaction"] == "true"
    return Migration(
        version=named["version"],
        name=named["name"],
        checksum=hashlib.sha256(_with_unix_lines(text).encode()).hexdigest(),
        scripts=(script,) if is_transactional else split_statements(script),
        is_transactional=is_transactional,
        lock_timeout=options["lock_timeout"],
        statement_timeout=options["statement_timeout"],
    )


def split_statements(script: str) -> tuple[str, ...]:
    """Split SQL at the semicolons that end a statement; pieces of comments alone are left out."""
    ends = [token.end() for token in _SQL_TOKEN.finditer(script) if token["end"]]
    starts = [0, *ends]
    pieces = [script[start:end].strip() for start, end in zip(starts, [*ends, len(script)], strict=True)]
    return tuple(piece for piece in pieces if _COMMENT.sub("", piece).strip())


def check_numbers(migrations: Sequence[Migration]) -> None:
    """Check that the numbers are 1, 2, 3, … .

    Raises:
        MigrationError: A number is missing or there twice.
    """
    for number, migration in enumerate(migrations, start=1):
        if migration.version != f"{number:04d}":
            raise MigrationError(
                f"{migration.file_name} should have number {number:04d}: no gaps, no doubles."
            )


def compare(known: Iterable[Migration], applied: Iterable[AppliedMigration]) -> tuple[MigrationStatus, ...]:
    """Compare the files with what a database has, in order of version."""
    files = {migration.version: migration for migration in known}
    rows = {row.version: row for row in applied}
    return tuple(
        MigrationStatus(
            version=version,
            name=(files.get(version) or rows[version]).name,
            state=_state(files.get(version), rows.get(version)),
        )
        for version in sorted(files.keys() | rows.keys())
    )


def plan(known: Sequence[Migration], applied: Sequence[AppliedMigration]) -> tuple[Migration, ...]:
    """Return the migrations to apply, in order. Versions that only the database knows are left alone.

    Raises:
        MigrationError: An applied file was edited, or one to apply is older than an applied one.
    """
    states = {status.version: status.state for status in compare(known, applied)}
    _refuse_edited(known, states)
    todo = tuple(migration for migration in known if states[migration.version] is MigrationState.PENDING)
    _refuse_late(todo, states)
    return todo


def _read_up(file_name: str, text: str) -> tuple[str, dict[str, str]]:
    ups = list(_UP.finditer(text))
    if len(ups) != 1:
        raise MigrationError(f"{file_name} needs one line `-- migrate:up`.")
    body = _with_unix_lines(text[ups[0].end() :])
    script = _DOWN.split(body, maxsplit=1)[0].strip()
    return script, _DEFAULT_OPTIONS | _read_options(file_name, ups[0]["options"].split())


def _read_options(file_name: str, words: Iterable[str]) -> dict[str, str]:
    options = dict(word.partition(":")[::2] for word in words)
    if options.keys() - _DEFAULT_OPTIONS.keys() or options.get("transaction", "true") not in {
        "true",
        "false",
    }:
        raise MigrationError(
            f"{file_name} has an unknown option: known are transaction, lock_timeout and statement_timeout."
        )
    return options


def _with_unix_lines(text: str) -> str:
    return text.replace("\r\n", "\n")


def _state(file: Migration | None, row: AppliedMigration | None) -> MigrationState:
    if file is None:
        return MigrationState.UNKNOWN
    if row is None:
        return MigrationState.PENDING
    return MigrationState.APPLIED if row.checksum == file.checksum else MigrationState.EDITED


def _refuse_edited(known: Iterable[Migration], states: Mapping[str, MigrationState]) -> None:
    for migration in known:
        if states[migration.version] is MigrationState.EDITED:
            raise MigrationError(
                f"{migration.file_name} was edited after it was applied: restore it, write a new migration."
            )


def _refuse_late(todo: Sequence[Migration], states: Mapping[str, MigrationState]) -> None:
    newest = max(
        (version for version, state in states.items() if state is MigrationState.APPLIED), default=""
    )
    for migration in todo:
        if migration.version < newest:
            raise MigrationError(
                f"{migration.file_name} is not applied but {newest} is: this is not the database's history."
            )
