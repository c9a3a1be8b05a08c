"""Every secret that goes in is a canary; after faults it is in no log, answer, table, Redis value or trace."""

import base64
from functools import partial
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from service.commands.keys import create_key
from service.core.api_key import new_api_key
from service.embedded.valkey import EmbeddedValkey
from service.emulator.config import DEFAULT_ACCESS_KEY, EmulatorConfig, IamUser
from tests.faults.conftest import StackOn
from tests.support.api import Answer, Api
from tests.support.otlp import OtlpReceiver, otlp_receiver, tracing_to
from tests.support.sql import fetch_value
from tests.support.stack import Stack, body, free_port
from tests.support.waiting import eventually

DATABASE_PASSWORD = "canary-of-postgres-5d1c"
REDIS_PASSWORD = "canary-of-redis-91be"
SECRETS = {
    DATABASE_PASSWORD,
    REDIS_PASSWORD,
    EmulatorConfig().access_keys[DEFAULT_ACCESS_KEY],
    IamUser().password,
    # How every token of the vendor begins.
    base64.urlsafe_b64encode(f'{{"user":"{IamUser().name}"'.encode()).decode()[:24],
}
CUT_ALL = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
RULES = [
    {"fault": "500_before", "count": 1, "item": "2"},
    {"fault": "garbage_200", "count": 1, "item": "3"},
    {"fault": "429", "count": 1, "item": "4"},
]
#: How the vendor refuses a credential; the line that tells that the call with the last item has ended.
REFUSALS = {
    "aksk": ("signature_refused", "breaker.opened"),
    "token": ("token_expired", '"event":"batch.released".*"workspace":"ws-5"'),
}
TABLES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"


@pytest.fixture
async def guarded_redis_url(own_valkey: EmbeddedValkey) -> str:
    """The address of a Redis that asks for a password."""
    async with Redis.from_url(own_valkey.url) as redis:
        await redis.config_set("requirepass", REDIS_PASSWORD)
    return own_valkey.url.replace("unix://", f"unix://:{REDIS_PASSWORD}@")


@pytest.mark.parametrize("vendor_auth", ["aksk", "token"])
async def test_no_secret_is_written_anywhere(
    stack_on: StackOn, database_url: str, guarded_redis_url: str, vendor_auth: str
) -> None:
    """With good and bad API keys, refused calls, cut connections and missing servers, no canary is found."""
    url = database_url.replace("postgres@", f"postgres:{DATABASE_PASSWORD}@")
    settings = {
        "RELEASE_AUTH": "keys",
        "RELEASE_VENDOR_AUTH": vendor_auth,
        "RELEASE_WORKSPACE_RATE": "50",
        "RELEASE_LOG_LEVEL": "debug",
    }
    refusal, last_line = REFUSALS[vendor_auth]
    faults: dict[str, object] = {"rules": [*RULES, {"fault": refusal, "count": 1, "item": "5"}]}
    async with (
        otlp_receiver() as traces,
        stack_on(url, guarded_redis_url, faults, starts=False, **settings, **tracing_to(traces.url)) as stack,
    ):
        good, bad = await make_key(database_url), new_api_key()
        answers = await run_with_faults(stack, good, bad, last_line=last_line)
        await fail_to_start(stack)
        places = {
            "logs": "".join(process.stdout + process.stderr for process in stack.processes),
            "answers": "".join(f"{answer.headers} {answer.body!r}" for answer in answers),
            "tables": await text_of_tables(database_url),
            "Redis": await text_of_redis(guarded_redis_url),
            "traces": await text_of_traces(traces),
        }

    assert [place for place, text in places.items() if "ws-3" not in text] == []
    assert [
        (place, secret)
        for place, text in places.items()
        for secret in (*SECRETS, good, bad)
        if secret in text
    ] == []


async def make_key(database_url: str) -> str:
    created = await create_key(
        database_url, name="a key", scopes=("submit", "read"), workspaces=("*",), expires_in=None
    )
    return created.api_key


async def run_with_faults(stack: Stack, good: str, bad: str, *, last_line: str) -> list[Answer]:
    """Have items released through every fault, and return every answer that callers were given."""
    await stack.start_api()
    worker = await stack.start_worker(**iam_of(stack))
    api = Api(stack.url, stack.http)
    answers = [await api.post(body("1"), Authorization=f"Bearer {key}") for key in (bad, f"{good}x", good)]
    for item in range(2, 6):
        request = body(str(item), workspace=f"ws-{item}")
        await eventually(partial(is_accepted, api, request, good, answers), within=20.0)
        await worker.wait_for_line(f'"event":"batch.(released|in_doubt|postponed)".*"workspace":"ws-{item}"')
        await fetch_value(stack.database_url, CUT_ALL)
    await worker.wait_for_line(last_line)
    for answer in list(answers):
        if answer.status == 202:
            answers.append(await api.get(answer.headers["Location"], X_Auth_Token=good))
            answers.append(await api.get(f"{answer.headers['Location']}/events", X_Auth_Token=good))
    return answers


async def is_accepted(api: Api, request: dict[str, Any], key: str, answers: list[Answer]) -> bool:
    """Hand a request in, and keep the answer: the first after a cut may be a 503."""
    answers.append(await api.post(request, X_Auth_Token=key))
    return answers[-1].status == 202


def iam_of(stack: Stack) -> dict[str, str]:
    """Return the settings of a worker that uses tokens."""
    return {
        "RELEASE_IAM_URL": stack.emulator.url,
        "RELEASE_IAM_USER": IamUser().name,
        "RELEASE_IAM_PASSWORD": IamUser().password,
        "RELEASE_IAM_DOMAIN": IamUser().domain,
    }


async def fail_to_start(stack: Stack) -> None:
    """Start processes whose servers are missing, or whose settings are wrong."""
    nobody = f"postgresql://nobody:{DATABASE_PASSWORD}@127.0.0.1:{free_port()}/none"
    await stack.start("api", RELEASE_DATABASE_URL=nobody).wait_for_line("start.delayed")
    no_redis = f"redis://:{REDIS_PASSWORD}@127.0.0.1:{free_port()}/0"
    await stack.start("worker", RELEASE_REDIS_URL=no_redis, **iam_of(stack)).wait_for_line("start.delayed")
    assert await stack.start("api", RELEASE_DATABASE_URL=f"mysql://u:{DATABASE_PASSWORD}@h/d").wait() == 2
    assert await stack.start("api", RELEASE_REDIS_URL=f"http://:{REDIS_PASSWORD}@h").wait() == 2


async def text_of_tables(database_url: str) -> str:
    """Return every row of every table as text."""
    connection = await asyncpg.connect(database_url)
    try:
        tables = [row["relname"] for row in await connection.fetch(TABLES)]
        rows = [await connection.fetch(f'SELECT t::text AS row FROM "{table}" AS t') for table in tables]  # noqa: S608 - names of our own tables
    finally:
        await connection.close()
    return "\n".join(row["row"] for found in rows for row in found)


async def text_of_traces(traces: OtlpReceiver) -> str:
    """Return all that was sent to a receiver of traces, once it has the last call."""
    await eventually(lambda: b"ws-5" in traces.raw)
    return traces.raw.decode(errors="replace")


async def text_of_redis(url: str) -> str:
    """Return every key with its value as text."""
    async with Redis.from_url(url) as redis:
        reads = {
            b"string": redis.get,
            b"hash": redis.hgetall,
            b"zset": lambda key: redis.zrange(key, 0, -1),
            b"none": redis.get,  # it has expired since it was listed
        }
        keys = [key async for key in redis.scan_iter()]
        return "\n".join([f"{key!r} {await reads[await redis.type(key)](key)!r}" for key in keys])
