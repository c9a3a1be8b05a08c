from pathlib import Path

import pytest

from service.core.errors import MigrationError
from service.gateways.migration_files import (
    AppliedMigration,
    Migration,
    MigrationState,
    compare,
    find_migrations,
    migrations_directory,
    parse_migration,
    plan,
    split_statements,
)


def migration(number: int, *, sql: str = "SELECT 1;") -> Migration:
    return parse_migration(f"{number:04d}_step.sql", f"-- migrate:up\n{sql}\n")


def applied(*migrations: Migration) -> tuple[AppliedMigration, ...]:
    return tuple(
        AppliedMigration(version=one.version, name=one.name, checksum=one.checksum) for one in migrations
    )


def test_a_file_is_one_script_in_a_transaction() -> None:
    """What stands before ``migrate:up`` and after ``migrate:down`` is not run."""
    text = "-- why\n-- migrate:up\nCREATE TABLE a ();\nCREATE TABLE b ();\n-- migrate:down\nDROP TABLE a;\n"
    parsed = parse_migration("0007_two_tables.sql", text)

    assert parsed.scripts == ("CREATE TABLE a ();\nCREATE TABLE b ();",)
    assert (parsed.version, parsed.name, parsed.is_transactional) == ("0007", "two_tables", True)
    assert (parsed.lock_timeout, parsed.statement_timeout) == ("4s", "60s")


def test_options_stand_behind_the_header() -> None:
    """A file may go without a transaction, statement by statement, and with its own time limits."""
    text = "-- migrate:up transaction:false statement_timeout:10min lock_timeout:0\nSELECT 1;\nSELECT 2;"
    parsed = parse_migration("0001_slow.sql", text)

    assert parsed.scripts == ("SELECT 1;", "SELECT 2;")
    assert (parsed.is_transactional, parsed.lock_timeout, parsed.statement_timeout) == (False, "0", "10min")


def test_statements_end_only_at_their_own_semicolons() -> None:
    """Semicolons in strings, names, comments and function bodies end nothing."""
    statements = (
        "SELECT 'a;''b', E'c\\';d';",
        'SELECT ";" FROM x;',
        "-- no; end\nSELECT /* nor; here */ 1;",
        "DO $do$ BEGIN PERFORM 1; END $do$;",
        "SELECT $$;$$;",
    )

    assert statements == split_statements("\n".join([*statements, "-- the end;", "/* ; */"]))


def test_line_ends_do_not_change_the_checksum() -> None:
    """A checkout with Windows line ends is no edit."""
    text = "-- migrate:up\nSELECT 1;\n"
    unix, windows = (
        parse_migration("0001_a.sql", one).checksum for one in (text, text.replace("\n", "\r\n"))
    )

    assert unix == windows


@pytest.mark.parametrize(
    ("file_name", "text"),
    [
        ("1_a.sql", "-- migrate:up\n"),
        ("0001_A.sql", "-- migrate:up\n"),
        ("0001_a.sql", "SELECT 1;\n"),
        ("0001_a.sql", "-- migrate:up\n-- migrate:up\n"),
        ("0001_a.sql", "-- migrate:up transaction:no\n"),
        ("0001_a.sql", "-- migrate:up statement_timout:1s\n"),
    ],
    ids=["number", "capital", "no header", "two headers", "no boolean", "unknown option"],
)
def test_a_file_that_is_not_in_the_format_is_named(file_name: str, text: str) -> None:
    """A wrong name, header or option is refused with the file's name."""
    with pytest.raises(MigrationError, match=file_name):
        parse_migration(file_name, text)


@pytest.mark.parametrize(
    ("names", "culprit"),
    [
        (("0001_a", "0003_c"), "0003_c.sql should have number 0002"),
        (("0001_a", "0001_b"), "0001_b.sql should have number 0002"),
        (("0002_b",), "0002_b.sql should have number 0001"),
    ],
    ids=["gap", "double", "no first"],
)
def test_gaps_and_doubles_are_refused(tmp_path: Path, names: tuple[str, ...], culprit: str) -> None:
    """The numbers are 1, 2, 3, …; the first file that breaks the row is named."""
    for name in names:
        (tmp_path / f"{name}.sql").write_text("-- migrate:up\n")

    with pytest.raises(MigrationError, match=culprit):
        find_migrations(tmp_path)


def test_a_directory_without_migrations_is_refused(tmp_path: Path) -> None:
    """No files is a broken installation, not a finished migration."""
    with pytest.raises(MigrationError, match="has no migrations"):
        find_migrations(tmp_path)


def test_the_services_own_migrations_are_in_the_format() -> None:
    """The files that ship with the service can be read."""
    found = find_migrations(migrations_directory())

    assert found[0].version == "0001"


def test_comparing_tells_all_four_states() -> None:
    """A migration is applied, edited, pending or unknown to this code."""
    known = (migration(1), migration(2), migration(3))
    rows = applied(migration(1), migration(2, sql="SELECT 2;"), migration(4))
    states = [(status.version, status.state) for status in compare(known, rows)]

    assert states == [
        ("0001", MigrationState.APPLIED),
        ("0002", MigrationState.EDITED),
        ("0003", MigrationState.PENDING),
        ("0004", MigrationState.UNKNOWN),
    ]


def test_the_plan_is_what_is_pending() -> None:
    """Applied migrations are left out, in order; newer ones of the database do not matter."""
    known = (migration(1), migration(2), migration(3))

    assert known[1:] == plan(known, applied(migration(1), migration(9)))


def test_an_older_migration_is_not_applied_after_a_newer_one() -> None:
    """A database that skipped a migration has another history than the code."""
    with pytest.raises(MigrationError, match=r"0002_step\.sql is not applied but 0003 is"):
        plan((migration(1), migration(2), migration(3)), applied(migration(1), migration(3)))
