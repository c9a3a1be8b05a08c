"""What strangers may put into Redis: it is dropped, never run, and nobody dies of it."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from arq.connections import ArqRedis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from service.core.telemetry import LogEvent
from service.gateways.queue import DOORBELL_QUEUE, open_redis
from tests.faults.conftest import StackOn
from tests.support.stack import body
from tests.support.waiting import eventually

T = TypeVar("T")

QUEUES = (DOORBELL_QUEUE, "release:requests")
ENTRIES_OF_A_QUEUE = 250

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FUNCTIONS = st.sampled_from(["look", "release_request", "nobody"])
JOBS = st.fixed_dictionaries(
    {},
    optional={
        "t": st.none() | JSON,
        "f": FUNCTIONS | JSON,
        "a": st.lists(JSON, max_size=2) | JSON,
        "k": st.just({}) | JSON,
        "et": st.integers(0, 2**70) | JSON,
    },
).map(lambda job: json.dumps(job).encode())
PAYLOADS = st.binary(max_size=60) | JOBS
SCORES = st.sampled_from([float("-inf"), -5.0, 0.0, 0.5, 1.0, 1e12])


def examples(strategy: SearchStrategy[T], count: int) -> list[T]:
    """Let hypothesis make up so many values, the same in every run."""
    found: list[T] = []

    @settings(
        max_examples=count,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: T) -> None:
        found.append(value)

    collect()
    return found


def harmful_pickle(marker: Path) -> bytes:
    """Return what makes pickle run a command that leaves a file behind."""
    return f"cposix\nsystem\n(S'touch {marker}'\ntR.".encode()


def test_the_harmful_pickle_is_harmful(tmp_path: Path) -> None:
    """Whoever unpickles it has run its command: the test below would see that."""
    marker = tmp_path / "marker"
    program = "import pickle, sys; pickle.loads(sys.stdin.buffer.read())"
    subprocess.run([sys.executable, "-c", program], input=harmful_pickle(marker), check=True)

    assert marker.exists()


async def test_five_hundred_hostile_entries_stop_nobody(
    stack_on: StackOn, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """Ids and jobs of any bytes, keys of any type and a harmful pickle are dropped; good work is done soon."""
    marker = tmp_path / "marker"
    async with stack_on(database_url, redis_url) as stack:
        redis = open_redis(redis_url, max_connections=2, retries=1)
        entries = examples(st.tuples(st.binary(max_size=20), PAYLOADS, SCORES), ENTRIES_OF_A_QUEUE)
        for queue in QUEUES:
            await add_entries(redis, queue, entries, marker)
        accepted = await stack.submit(body("1"))
        await stack.wait_for(accepted["id"], "released", within=8.0)
        envelope = {"v": 1, "idempotency_key": "k", "request": body("2")}
        job = await redis.enqueue_job("release_request", envelope, _queue_name="release:requests")
        assert job is not None
        result = await job.result(timeout=8.0, poll_delay=0.05)
        await stack.wait_for(result["id"], "released", within=8.0)
        await eventually(lambda: are_empty(redis), within=20.0, what="empty queues")
        await redis.aclose()

        assert all(process.returncode is None for process in stack.processes)
        lines = [json.loads(line) for line in stack.processes[-1].stderr.splitlines()]
        assert {line["event"] for line in lines} <= set(LogEvent) - {LogEvent.QUEUE_LOST}
        assert not marker.exists()


async def add_entries(
    redis: ArqRedis, queue: str, entries: Sequence[tuple[bytes, bytes, float]], marker: Path
) -> None:
    for number, (job_id, payload, score) in enumerate(entries):
        key = b"arq:job:" + job_id
        match number % 10:
            case 0:
                await redis.delete(key)
                await redis.execute_command("HSET", key, "not", "a job")  # type: ignore[no-untyped-call]
            case 1:
                await redis.set(key, harmful_pickle(marker))
            case _:
                await redis.set(key, payload)
        if number % 7 == 0:
            await redis.set(b"arq:retry:" + job_id, "no number")
        await redis.zadd(queue, {job_id: score})


async def are_empty(redis: ArqRedis) -> bool:
    return not any([await redis.zcard(queue) for queue in QUEUES])
