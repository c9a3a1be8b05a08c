"""The api command: several processes on one port, its start, and its end."""

import asyncio
import os
import signal
import socket
from collections import Counter
from collections.abc import Mapping

import pytest

from tests.conftest import StartService
from tests.support.api import REQUESTS, Api, new_session
from tests.support.processes import ServiceProcess
from tests.support.servers import children_of, is_alive
from tests.support.sockets import listening_addresses
from tests.support.sql import fetch_value
from tests.support.stack import body, free_port
from tests.support.waiting import eventually


@pytest.fixture
def environment(servers: Mapping[str, str]) -> dict[str, str]:
    """The settings of an api process on a free port."""
    return {
        **servers,
        "RELEASE_HTTP_PORT": str(free_port()),
        "RELEASE_PROJECT_ID": "project",
        "RELEASE_AUTH": "off",
        "RELEASE_LOG_LEVEL": "debug",
        "RELEASE_LOG_FORMAT": "json",
    }


def url_of(environment: Mapping[str, str]) -> str:
    return f"http://127.0.0.1:{environment['RELEASE_HTTP_PORT']}"


async def started(process: ServiceProcess, count: int) -> None:
    await eventually(
        lambda: process.stderr.count("process.started") >= count, within=20.0, what="processes started"
    )


async def test_two_processes_serve_one_port_and_end_together(
    start_service: StartService, environment: dict[str, str]
) -> None:
    """Both processes answer on the port, and SIGTERM to the first ends all three with exit code 0."""
    process = start_service("api", "--processes", "2", environment=environment)
    await started(process, 2)
    children = children_of(process.pid)
    async with new_session() as session:
        api = Api(url_of(environment), session)
        accepted = await asyncio.gather(*(api.accept(body(str(item))) for item in range(64)))
        looks = await asyncio.gather(*(api.get(f"{REQUESTS}/{request['id']}") for request in accepted))
    listening = [listening_addresses(child) for child in children]
    process.send(signal.SIGTERM)
    code = await process.wait()

    assert len(children) == 2
    assert Counter(look.status for look in looks) == {200: 64}
    assert listening == [{("127.0.0.1", int(environment["RELEASE_HTTP_PORT"]))}] * 2
    assert code == 0
    assert not any(is_alive(child) for child in children)


async def test_a_process_that_is_killed_is_started_again(
    start_service: StartService, environment: dict[str, str]
) -> None:
    """When one of two processes dies another takes its place, and the port answers meanwhile."""
    process = start_service("api", "--processes", "2", environment=environment)
    await started(process, 2)
    before = set(children_of(process.pid))
    killed = min(before)
    os.kill(killed, signal.SIGKILL)
    await process.wait_for_line(r'"exit status -9"')
    async with new_session() as session:
        answered = await Api(url_of(environment), session).get("/livez")
    await started(process, 3)
    after = set(children_of(process.pid))

    assert answered.status == 200
    assert len(after) == 2
    assert before - {killed} < after


async def test_a_second_signal_is_not_needed_while_callers_wait(
    start_service: StartService, environment: dict[str, str]
) -> None:
    """At SIGTERM a long poll gets its answer, and the process ends with code 0 well within the grace."""
    process = start_service("api", environment=environment)
    await started(process, 1)
    async with new_session() as session:
        api = Api(url_of(environment), session)
        accepted = await api.accept(body("1"))
        poll = asyncio.create_task(api.get(f"{REQUESTS}/{accepted['id']}?wait=30"))
        await eventually(
            lambda: is_looked_for(environment["RELEASE_DATABASE_URL"]), within=20, what="a waiting caller"
        )
        process.send(signal.SIGTERM)
        answer = await poll
        code = await process.wait(within=10.0)

    assert (answer.status, answer.json) == (200, accepted)
    assert code == 0


async def is_looked_for(database_url: str) -> bool:
    """Whether the process has looked at the requests that are waited for, as it does every two seconds."""
    query = """
        SELECT count(*) > 0 FROM pg_stat_activity
        WHERE
            datname = current_database() AND pid <> pg_backend_pid()
            AND query LIKE 'SELECT id, version FROM release_requests%'
    """
    is_looked: bool = await fetch_value(database_url, query)
    return is_looked


@pytest.mark.parametrize("missing", ["RELEASE_DATABASE_URL", "RELEASE_REDIS_URL"])
@pytest.mark.parametrize("arguments", [("api",), ("api", "--processes", "2")], ids=" ".join)
async def test_a_missing_address_is_named(
    start_service: StartService, environment: dict[str, str], arguments: tuple[str, ...], missing: str
) -> None:
    """Without an address the command ends with code 2 and one sentence that names the variable."""
    del environment[missing]
    process = start_service(*arguments, environment=environment)
    code = await process.wait()

    assert (code, process.stdout) == (2, "")
    assert process.stderr.startswith(f"batch-release: {missing} is not set: expected ")
    assert process.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [("api",), ("api", "--processes", "2")], ids=" ".join)
async def test_a_port_in_use_is_named(
    start_service: StartService, environment: dict[str, str], arguments: tuple[str, ...]
) -> None:
    """A port that another program has ends the command with code 2 and one sentence."""
    with socket.create_server(("127.0.0.1", int(environment["RELEASE_HTTP_PORT"]))):
        process = start_service(*arguments, environment=environment)
        code = await process.wait()
    complaints = [line for line in process.stderr.splitlines() if line.startswith("batch-release: ")]

    assert code == 2
    assert len(complaints) == 1
    assert (
        f"RELEASE_HTTP_PORT: expected a free port; 127.0.0.1:{environment['RELEASE_HTTP_PORT']}"
        in complaints[0]
    )
    assert "Traceback" not in process.stderr


async def test_an_api_that_waits_for_postgres_can_be_stopped(
    start_service: StartService, environment: dict[str, str]
) -> None:
    """A process that waits for Postgres says so, and SIGTERM ends it with code 0."""
    environment["RELEASE_DATABASE_URL"] = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    process = start_service("api", environment=environment)
    await process.wait_for_line("start.delayed")
    process.send(signal.SIGTERM)

    assert await process.wait(within=10.0) == 0
