"""What the limiter leaves, on the overview: as far as the process can know."""

import html
import re
from datetime import timedelta
from uuid import uuid4

from service.core.outcomes import Throttled, ThrottleScope, VendorError
from service.doors.facade.keys import VENDOR
from service.gateways.access import VendorAccess
from service.gateways.limits import Asking
from service.gateways.permits import Permit
from tests.doors.conftest import StartReplica
from tests.doors.test_console import read
from tests.support.api import Replica
from tests.support.waiting import eventually

NOWHERE = {"RELEASE_VENDOR_URL": "http://127.0.0.1:1", "RELEASE_VENDOR_AUTH": "none"}
UNKNOWN = "What the limiter leaves is not known here"


async def overview(replica: Replica) -> str:
    """Return what a reader sees of the first page."""
    answer = await read(replica, "/")
    assert answer.status == 200
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", answer.body.decode())).split())


async def test_calls_and_a_throttle_are_seen(start_replica: StartReplica) -> None:
    """Calls of the last second, those under way, what is left, and for how long the vendor holds all of them back."""
    replica = await start_replica(**NOWHERE, RELEASE_VENDOR_RATE="4", RELEASE_VENDOR_CONCURRENCY="3")
    access = replica.app[VENDOR]
    assert isinstance(access, VendorAccess)
    asking = Asking(batch_key=uuid4(), project_id="p", workspace="w")

    async def permit_of() -> Permit | None:
        answer = await access.creates.ask(asking)
        return answer if isinstance(answer, Permit) else None

    idle = await overview(replica)
    permit = await eventually(permit_of)
    assert permit is not None
    busy = await overview(replica)
    error = VendorError(status=429, error_code="APIGW.0308", error_msg=None, request_id=None)
    outcome = Throttled(error=error, scope=ThrottleScope.OPERATION, retry_after=None)
    await access.creates.conclude(asking, permit, outcome=outcome, pause=timedelta(minutes=1))
    held = await overview(replica)

    assert "Calls in the last second 0 of 4 4 left now Calls under way 0 of 3" in idle
    assert "Calls under way 1 of 3" in busy
    assert "0 left now" in held
    assert re.search(r"Throttled by the vendor, \d+ s more", held)


async def test_a_process_that_cannot_know_says_so(start_replica: StartReplica) -> None:
    """Without the vendor's credentials, and without Redis; the page is there all the same."""
    for settings in ({}, {**NOWHERE, "RELEASE_REDIS_URL": "redis://127.0.0.1:1/0"}):
        assert UNKNOWN in await overview(await start_replica(**settings))
