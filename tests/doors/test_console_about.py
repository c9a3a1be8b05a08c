"""The page about the service: versions for everybody; servers and settings, without secrets, for admins."""

import html
import re
import sys
from collections.abc import Mapping

import pytest

from service import __version__
from service.core.config import Settings
from service.core.sources import Source
from service.doors.console.about import libraries
from service.doors.console.words import load_words
from service.gateways.servers import read_info
from tests.doors.conftest import StartReplica
from tests.doors.test_console import log_in, make_key, read, session_of
from tests.support.access_keys import SECRET_KEY
from tests.support.api import Replica


def rows_of(page: str) -> dict[str, tuple[str, str]]:
    """Return value and source of each setting that a page shows."""
    cells = re.findall(
        r'<code>(RELEASE_\w+)</code></td><td class="value">(.*?)</td>\s*<td class="tight">(.*?)</td>', page
    )
    return {name: (html.unescape(re.sub("<[^>]+>", "", value)), source) for name, value, source in cells}


async def test_an_admin_sees_what_runs_and_how_it_is_set(start_replica: StartReplica) -> None:
    """Versions of the service, Python, libraries and servers; each setting with its value and where it came from."""
    replica = await start_replica(RELEASE_VENDOR_RATE="3")
    page = (await read(replica, "/about")).body.decode()
    rows = rows_of(page)
    texts = " ".join(html.unescape(re.sub("<[^>]+>", " ", page)).split())

    assert rows["RELEASE_VENDOR_RATE"] == ("3", "Environment")
    assert rows["RELEASE_LEASE_SECONDS"] == ("45", "Default")
    assert len(rows) == len(Settings.model_fields)
    assert f"Batch release {__version__}" in texts
    assert f"Python {sys.version.split()[0]}" in texts
    assert re.search(r"PostgreSQL 1[5-9]\.\d+, \d+ MiB Commits are ", texts)
    assert re.search(r"(Valkey|Redis) \d+\.\d+\.\d+ Append-only file o", texts)
    assert {"aiohttp", "asyncpg", "arq", "redis", "jinja2"} <= libraries().keys()
    assert "pytest" not in libraries()


async def test_no_secret_is_shown(start_replica: StartReplica, database_url: str) -> None:
    """Neither passwords, nor keys, nor who logs in at a server."""
    replica = await start_replica(
        RELEASE_AUTH="keys", RELEASE_SECRET_KEY=SECRET_KEY, RELEASE_IAM_PASSWORD="hunter2-hunter2"
    )
    api_key, _ = await make_key(database_url, "admin")
    page = (await read(replica, "/about", session_of(await log_in(replica, api_key)))).body.decode()

    assert rows_of(page)["RELEASE_SECRET_KEY"] == ("***", "Environment")
    assert rows_of(page)["RELEASE_IAM_PASSWORD"] == ("***", "Environment")
    assert SECRET_KEY not in html.unescape(page)
    assert "hunter2" not in page
    assert api_key not in page


async def test_who_is_no_admin_of_all_sees_versions_only(
    start_replica: StartReplica, database_url: str
) -> None:
    """Where the servers are and how all is set is for those who run it."""
    replica = await start_replica(RELEASE_AUTH="keys")
    for scopes, workspaces in ((("read", "operate"), "*"), (("admin",), "project/*")):
        api_key, _ = await make_key(database_url, *scopes, workspaces=[workspaces])
        answer = await read(replica, "/about", session_of(await log_in(replica, api_key)))
        page = answer.body.decode()

        assert answer.status == 200
        assert __version__ in page
        assert "RELEASE_" not in page
        assert "Commits are" not in page


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (
            "postgresql://ann:s3cret@db:5432/release?sslmode=require&password=s3cret",
            "postgresql://db:5432/release",
        ),
        ("postgresql:///release?host=/run/pg&user=ann", "postgresql:///release"),
        ("postgres://ann:a/s3cret@db/release", "***"),
        ("postgres://[::1", "***"),
    ],
)
def test_an_address_is_shown_without_who_logs_in(given: str, shown: str) -> None:
    """Scheme, host, port and path; what cannot be told apart is not shown."""
    settings = Settings.from_env({"RELEASE_DATABASE_URL": given})
    first = next(iter(settings.shown()))

    assert (first.name, first.value, first.source) == ("RELEASE_DATABASE_URL", shown, Source.ENVIRONMENT)


def test_a_setting_knows_where_it_came_from(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The environment, a file, the vendor's credentials, or nowhere."""
    secrets = tmp_path_factory.mktemp("secrets")
    (secrets / "RELEASE_QUEUE").write_text("mine\n")
    settings = Settings.from_env({"RELEASE_VENDOR_RATE": "8"}, secrets=secrets)
    completed = settings.model_copy(update={"project_id": "of-the-credentials"})
    sources = {one.name: one.source for one in completed.shown()}

    assert sources["RELEASE_VENDOR_RATE"] is Source.ENVIRONMENT
    assert sources["RELEASE_QUEUE"] is Source.FILE
    assert sources["RELEASE_PROJECT_ID"] is Source.CREDENTIALS
    assert sources["RELEASE_REGION"] is Source.DEFAULT


def test_every_setting_says_what_it_means() -> None:
    """In every language, and nothing is said of what is no setting."""
    named = {f"setting.{field.alias}" for field in Settings.model_fields.values()}

    assert {name for name in load_words()["en"].texts if name.startswith("setting.RELEASE_")} == named


@pytest.mark.parametrize(
    ("info", "kind", "version", "has_log"),
    [
        (
            {"server_name": "valkey", "valkey_version": "8.1.0", "redis_version": "7.2.4", "aof_enabled": 1},
            "Valkey",
            "8.1.0",
            True,
        ),
        ({"redis_version": "6.2.14", "aof_enabled": 0, "rdb_last_save_time": 0}, "Redis", "6.2.14", False),
        ({}, "Redis", None, None),
    ],
    ids=str,
)
def test_a_redis_says_what_it_is_as_far_as_it_may_be_asked(
    info: Mapping[str, object], kind: str, version: str | None, has_log: bool | None
) -> None:
    """Servers of others leave things out."""
    server = read_info(info)

    assert (server.kind, server.version, server.has_log, server.snapshot_at) == (kind, version, has_log, None)


async def test_the_page_does_not_wait_for_a_redis_that_is_away(start_replica: StartReplica) -> None:
    """It says that it does not answer."""
    replica: Replica = await start_replica(RELEASE_REDIS_URL="redis://127.0.0.1:1/0")
    answer = await read(replica, "/about")

    assert answer.status == 200
    assert "Does not answer" in answer.body.decode()
