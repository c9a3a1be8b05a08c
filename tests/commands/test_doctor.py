"""The doctor: each failure for real, each with its fix, and never a secret."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from service.commands.doctor.servers import judge_memory, judge_schema, shown_address
from service.embedded.valkey import EmbeddedValkey
from service.emulator.config import DEFAULT_ACCESS_KEY, DEFAULT_PROJECT_ID, EmulatorConfig
from service.gateways.migration_files import MigrationState, MigrationStatus
from tests.support.cli import Cli
from tests.support.emulator import EmulatorProcess
from tests.support.nursery import REPOSITORY
from tests.support.servers import server_directory
from tests.support.sql import fetch_value
from tests.support.stack import free_port

SECRET = EmulatorConfig().access_keys[DEFAULT_ACCESS_KEY]
CHECKS = [
    "settings",
    "database",
    "schema",
    "redis",
    "redis keeps",
    "redis memory",
    "credentials",
    "endpoint",
    "signed read",
    "clock",
]


@pytest.fixture
async def emulator(tmp_path: Path) -> AsyncIterator[EmulatorProcess]:
    """A vendor."""
    async with EmulatorProcess(tmp_path) as emulator:
        yield emulator


@pytest.fixture
def cli(tmp_path: Path, database_url: str, redis_url: str, emulator: EmulatorProcess) -> Cli:
    """The command with settings that are all good."""
    return Cli(
        tmp_path,
        RELEASE_DATABASE_URL=database_url,
        RELEASE_REDIS_URL=redis_url,
        RELEASE_VENDOR_URL=emulator.url,
        RELEASE_PROJECT_ID=DEFAULT_PROJECT_ID,
        RELEASE_DEFAULT_WORKSPACE="demo",
        HUAWEICLOUD_SDK_AK=DEFAULT_ACCESS_KEY,
        HUAWEICLOUD_SDK_SK=SECRET,
    )


async def found_by(
    cli: Cli, *arguments: str, code: int, **environment: str
) -> dict[str, tuple[str, str, str]]:
    """Run the doctor; returns status, detail and fix by check."""
    done = await Cli(cli.directory, **{**cli.environment, **environment}).run(
        "doctor", "-o", "json", *arguments
    )
    secrets = {SECRET, environment.get("HUAWEICLOUD_SDK_SK") or SECRET}

    assert (done.code, "Traceback" in done.stderr) == (code, False), done
    assert [secret for secret in secrets if secret in done.stdout + done.stderr] == []
    findings = {one["check"]: (one["status"], one["detail"], one["fix"]) for one in done.json}
    assert [check for check, (status, _, fix) in findings.items() if (status == "ok") == bool(fix)] == []
    return findings


async def test_a_good_setup_is_good(cli: Cli, emulator: EmulatorProcess, database_url: str) -> None:
    """Every check is made; the vendor is asked once, with a read that it takes as signed."""
    findings = await found_by(cli, code=0)
    table = await cli.run("doctor")
    tsv = await cli.run("doctor", "-o", "tsv")
    calls = (await emulator.ledger())["calls"]

    version = str(await fetch_value(database_url, "SHOW server_version")).split()[0]

    assert list(findings) == CHECKS
    assert findings["database"][1].startswith(f"PostgreSQL {version} at ")
    assert {check for check, (status, _, _) in findings.items() if status != "ok"} == {"redis keeps"}
    assert findings["credentials"][1] == "an access key, from HUAWEICLOUD_SDK_AK in the environment"
    assert findings["endpoint"][1] == f"{emulator.url}, from RELEASE_VENDOR_URL"
    assert findings["redis"][1].startswith("Valkey 9.")
    assert [row["check"] for row in tsv.rows] == CHECKS
    assert "ok    database      PostgreSQL " in table.stdout
    assert "warn  redis keeps   no append-only file" in table.stdout
    assert [(call["operation"], call["status"]) for call in calls] == [("list_pending_items", 200)] * 3


async def test_without_any_setting_it_says_which_are_needed(tmp_path: Path) -> None:
    """Servers, credentials and region, each with what to set."""
    findings = await found_by(Cli(tmp_path), code=1)

    assert {check for check, (status, _, _) in findings.items() if status == "fail"} == {
        "database",
        "redis",
        "credentials",
        "endpoint",
    }
    assert "RELEASE_DATABASE_URL" in findings["database"][2]
    assert "HUAWEICLOUD_SDK_AK" in findings["credentials"][2]


async def test_a_setting_that_is_wrong_comes_before_all_else(cli: Cli) -> None:
    """Nothing can be checked with it."""
    findings = await found_by(cli, code=1, RELEASE_VENDOR_RATE="much")

    assert list(findings) == ["settings"]
    assert findings["settings"][1].startswith("RELEASE_VENDOR_RATE: expected a number; given")


async def test_a_database_that_is_away_wrong_or_old_is_told_apart(
    cli: Cli, database_url: str, empty_database_url: str, tmp_path: Path
) -> None:
    """No server, a role that is not there, no schema, an earlier schema; the rest is checked all the same."""
    nowhere = f"postgresql://u:hidden-word@/nothing?host={tmp_path}"
    away = await found_by(cli, code=1, RELEASE_DATABASE_URL=nowhere)
    stranger = await found_by(
        cli, code=1, RELEASE_DATABASE_URL=database_url.replace("postgres@", "nobody:hidden-word@", 1)
    )
    empty = await found_by(cli, code=1, RELEASE_DATABASE_URL=empty_database_url)
    connection = await asyncpg.connect(database_url)
    last = await connection.fetchval(
        "DELETE FROM schema_migrations WHERE version = (SELECT max(version) FROM schema_migrations)"
        " RETURNING version"
    )
    await connection.close()
    old = await found_by(cli, code=1)

    assert away["database"][:2] == ("fail", away["database"][1])
    assert away["database"][1].startswith("PostgreSQL cannot be reached")
    assert 'role "nobody" does not exist' in stranger["database"][1]
    assert "hidden-word" not in json.dumps([away, stranger])
    assert empty["schema"][1].startswith("0001, ")
    assert old["schema"] == ("fail", f"{last} not applied", "run `batch-release migrate`")
    assert away["signed read"][0] == "ok"


async def test_a_redis_that_is_away_forgetful_or_evicting_is_told(cli: Cli) -> None:
    """Away it fails; one that writes nothing down, or makes room by forgetting, is a warning."""
    away = await found_by(cli, code=1, RELEASE_REDIS_URL=f"redis://:hidden-word@127.0.0.1:{free_port()}/0")
    with server_directory() as directory:
        settings = {"appendonly": "yes", "maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}
        async with EmbeddedValkey(directory, settings=settings) as valkey:
            evicting = await found_by(cli, code=0, RELEASE_REDIS_URL=valkey.url)

    assert (away["redis"][0], "hidden-word" in json.dumps(away)) == ("fail", False)
    assert away["redis"][1].startswith("Redis does not answer")
    assert evicting["redis keeps"][0] == "ok"
    assert evicting["redis memory"] == (
        "warn",
        "keys may be evicted (allkeys-lru), jobs of the queue door too",
        "set maxmemory-policy noeviction",
    )


async def test_the_vendors_refusals_are_told_apart(cli: Cli) -> None:
    """A wrong secret key, nobody at the address, a vendor that throttles or fails."""
    wrong = await found_by(cli, code=1, HUAWEICLOUD_SDK_SK="not-the-secret-key")
    nobody = await found_by(cli, code=1, RELEASE_VENDOR_URL=f"http://127.0.0.1:{free_port()}")
    unknown = await found_by(cli, "--workspace", "p/w", code=1, RELEASE_VENDOR_AUTH="none")

    assert wrong["signed read"][1].startswith("the credentials are refused: 401 APIGW.0301")
    assert "lock a key for five minutes" in wrong["signed read"][2]
    assert nobody["signed read"][1].startswith("the vendor cannot be reached")
    assert nobody.keys().isdisjoint({"clock"})
    assert unknown["credentials"][1] == "RELEASE_VENDOR_AUTH is none: calls are not signed"


async def test_a_vendor_on_a_bad_day_is_no_fault_of_the_setup(cli: Cli, emulator: EmulatorProcess) -> None:
    """Its words are shown, and the fix is patience."""
    await emulator.put_faults({"rules": [{"fault": "429", "operation": "list_pending_items"}]})
    throttled = await found_by(cli, code=0)
    await emulator.put_faults({"rules": [{"fault": "503_before", "operation": "list_pending_items"}]})
    failing = await found_by(cli, code=1)

    assert throttled["signed read"][0] == "warn"
    assert throttled["signed read"][1].startswith("the vendor throttles: 429")
    assert failing["signed read"][1].startswith("the vendor fails: 503")
    assert throttled["signed read"][2] == failing["signed read"][2] == "try again later"


@pytest.mark.parametrize(
    ("seconds", "code", "status", "words"),
    [(1_200, 1, "fail", "ahead of"), (-120, 0, "warn", "behind"), (5, 0, "ok", "ahead of")],
)
async def test_a_clock_that_is_wrong_is_told(
    cli: Cli, seconds: int, code: int, status: str, words: str
) -> None:
    """By the date of the vendor's answer: a little is good, a minute a warning, a quarter of an hour too much."""
    path = f"{REPOSITORY / 'tests' / 'support' / 'skew'}:{REPOSITORY}"
    findings = await found_by(cli, code=code, PYTHONPATH=path, SKEW_SECONDS=str(seconds))
    found, detail, _ = findings["clock"]
    number, _, rest = detail.partition(" s ")

    assert (found, rest) == (status, f"{words} the vendor's")
    assert abs(int(number) - abs(seconds)) <= 3
    assert (findings["signed read"][0] == "fail") == (status == "fail")


async def test_where_credentials_were_found_is_told(cli: Cli, tmp_path: Path) -> None:
    """The variable, the file that a variable names, the profile; half a pair is a fault."""
    without = {"HUAWEICLOUD_SDK_AK": "", "HUAWEICLOUD_SDK_SK": ""}
    (tmp_path / "ak").write_text(DEFAULT_ACCESS_KEY)
    (tmp_path / "sk").write_text(SECRET)
    profile = tmp_path / "profile"
    profile.write_text(f"[basic]\nak = {DEFAULT_ACCESS_KEY}\nsk = {SECRET}\n")
    files = {"HUAWEICLOUD_SDK_AK_FILE": str(tmp_path / "ak"), "HUAWEICLOUD_SDK_SK_FILE": str(tmp_path / "sk")}
    of_files = await found_by(cli, code=0, **{**without, **files})
    of_provider = await found_by(
        cli, code=0, **{**without, "HW_ACCESS_KEY": DEFAULT_ACCESS_KEY, "HW_SECRET_KEY": SECRET}
    )
    of_profile = await found_by(cli, code=0, **{**without, "HUAWEICLOUD_SDK_CREDENTIALS_FILE": str(profile)})
    half = await found_by(cli, code=1, **{**without, "CLOUD_SDK_AK": DEFAULT_ACCESS_KEY})

    assert (
        of_files["credentials"][1]
        == f"an access key, from {tmp_path / 'ak'}, which HUAWEICLOUD_SDK_AK_FILE names"
    )
    assert of_provider["credentials"][1] == "an access key, from HW_ACCESS_KEY in the environment"
    assert of_profile["credentials"][1] == f"an access key, from {profile}"
    assert half["credentials"][0] == "fail"
    assert "CLOUD_SDK_SK is not set, but CLOUD_SDK_AK is" in half["credentials"][1]


async def test_without_a_workspace_no_read_is_made(cli: Cli, emulator: EmulatorProcess) -> None:
    """It says how to name one."""
    silent = await found_by(cli, code=0, RELEASE_DEFAULT_WORKSPACE="")
    named = await found_by(cli, "--workspace", "demo", code=0, RELEASE_DEFAULT_WORKSPACE="")

    assert silent["signed read"][0] == "warn"
    assert "--workspace" in silent["signed read"][2]
    assert named["signed read"][0] == "ok"
    assert len((await emulator.ledger())["calls"]) == 1


def test_a_schema_that_was_edited_or_is_newer_is_told_apart() -> None:
    """The one is a fault, the other may be the middle of an upgrade."""

    def judged(state: MigrationState) -> tuple[str, str]:
        found = judge_schema([MigrationStatus(version="0099", name="n", state=state)])
        return found.status.value, found.detail

    assert judged(MigrationState.APPLIED) == ("ok", "up to date, at 0099")
    assert judged(MigrationState.EDITED)[0] == "fail"
    assert judged(MigrationState.UNKNOWN) == ("warn", "0099 applied by a newer version")
    assert judge_memory({"maxmemory": 1, "maxmemory_policy": "noeviction"}).status.value == "ok"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:secret@db:5432/release?password=secret", "db:5432/release"),
        ("postgresql://u:secret@/release?host=/run/pg", "/run/pg/release"),
        ("redis://:secret@r:6379/0", "r:6379/0"),
        ("redis://r:port/0", "no address"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    """Host, port and path alone."""
    assert shown_address(url) == shown
