"""The producer of the client library on a real Redis, with a real worker."""

import asyncio
import pickle
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.client import QueueProducer, ReleaseError
from service.core.errors import QueueUnavailable
from service.embedded.valkey import EmbeddedValkey
from service.gateways.queue import open_redis
from tests.support.emulator import UNLIMITED
from tests.support.sql import count_requests
from tests.support.stack import Stack, body, running_stack


@pytest.fixture
async def stack(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Stack]:
    """A worker, an HTTP process to look with, and a vendor without limits."""
    async with running_stack(
        database_url=database_url, redis_url=redis_url, directory=tmp_path, faults=UNLIMITED
    ) as stack:
        await asyncio.gather(stack.start_api(), stack.start_worker())
        yield stack


async def test_what_is_enqueued_is_released(stack: Stack) -> None:
    """The result has the id and the state; the same key and request again are the same release request."""
    async with QueueProducer(stack.redis_url) as producer:
        first = await producer.enqueue(body("1", "2"), idempotency_key="order-1")
        again = await producer.enqueue(body("1", "2"), idempotency_key="order-1")
        results = [await queued.result(timeout=15) for queued in (first, again)]
    request = await stack.wait_for(results[0]["id"], "released")

    assert first.job_id != again.job_id
    assert results[0]["id"] == results[1]["id"]
    assert results[0]["state"] == "accepted"
    assert [item["pending_item_id"] for item in request["items"]] == ["1", "2"]
    assert await count_requests(stack.database_url) == 1


async def test_a_refusal_is_raised_with_the_members_of_the_problem(stack: Stack) -> None:
    """What is wrong with a request is in the error, each thing with its pointer."""
    async with QueueProducer(stack.redis_url) as producer:
        queued = await producer.enqueue(body("a b", workspace="w w"), idempotency_key="k")
        with pytest.raises(ReleaseError) as raised:
            await queued.result(timeout=15)

    assert (raised.value.code, raised.value.status) == ("invalid-request", 422)
    assert {error["pointer"] for error in raised.value.errors} == {"/pending_item_list/0", "/workspace"}
    assert raised.value.title
    assert raised.value.detail in str(raised.value)


async def test_a_producer_needs_no_block(redis_url: str) -> None:
    """It connects on first use; without a worker the request waits, as JSON, for a month."""
    producer = QueueProducer(redis_url, "elsewhere")
    queued = await producer.enqueue(body("1"), traceparent="00-0-0-01")
    with pytest.raises(TimeoutError):
        await queued.result(timeout=0.2)
    await producer.close()
    redis = open_redis(redis_url, max_connections=1, retries=0)
    raw = await redis.get(f"arq:job:{queued.job_id}")
    left = await redis.ttl(f"arq:job:{queued.job_id}")
    waiting = await redis.zrange("elsewhere", 0, -1)
    await redis.aclose()

    assert waiting == [queued.job_id.encode()]
    assert left > 29 * 86_400
    assert raw is not None
    assert raw.startswith(b"{")
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads(raw)  # noqa: S301 - it is none: that is what is tried


async def test_a_result_that_is_gone_is_said_to_be(stack: Stack) -> None:
    """An hour later Redis has forgotten it."""
    async with QueueProducer(stack.redis_url) as producer:
        queued = await producer.enqueue(body("1"))
        await queued.result(timeout=15)
        redis = open_redis(stack.redis_url, max_connections=1, retries=0)
        await redis.delete(f"arq:result:{queued.job_id}")
        await redis.aclose()
        with pytest.raises(ReleaseError, match="no-result"):
            await queued.result(timeout=15)


async def test_what_json_cannot_say_is_refused_at_once(redis_url: str) -> None:
    """Nothing is enqueued."""
    async with QueueProducer(redis_url) as producer:
        with pytest.raises(TypeError):
            await producer.enqueue(body("1", note=object()))


async def test_a_redis_that_is_away_is_said_to_be(own_valkey: EmbeddedValkey) -> None:
    """The caller learns that the request may not be on the queue; after its return the producer goes on."""
    async with QueueProducer(own_valkey.url) as producer:
        await producer.enqueue(body("1"))
        await own_valkey.stop()
        with pytest.raises(QueueUnavailable):
            await producer.enqueue(body("2"), idempotency_key="k")
        await own_valkey.start()
        await producer.enqueue(body("2"), idempotency_key="k")
