"""A request that waits for longer than arq keeps a job: the doorbell is gone, the request is not."""

from redis.asyncio import Redis

from service.gateways.queue import DOORBELL_QUEUE
from tests.faults.conftest import StackOn
from tests.support.stack import body
from tests.support.waiting import eventually


async def test_a_request_outlives_its_doorbells(stack_on: StackOn, database_url: str, redis_url: str) -> None:
    """Handed in while no worker runs, with every job of arq expired meanwhile, a request is released all the same."""
    async with (
        stack_on(database_url, redis_url, starts=False) as stack,
        Redis.from_url(redis_url) as redis,
    ):
        await stack.start_api()
        ids = [(await stack.submit(body("1", workspace=f"ws-{number}")))["id"] for number in range(3)]

        async def has_bells() -> bool:
            return bool(await redis.zcard(DOORBELL_QUEUE) == len(ids))

        await eventually(has_bells)
        jobs = [key async for key in redis.scan_iter("arq:job:*")]
        for key in jobs:
            await redis.pexpire(key, 1)
        worker = await stack.start_worker()
        for request_id in ids:
            await stack.wait_for(request_id, "released", within=15.0)

        assert len(jobs) == len(ids)
        assert "expired" in worker.stderr
