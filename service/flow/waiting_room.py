"""Refuses requests for whose items there is no room: too much waits already, in their workspace or in all.

Takes: requests that are about to be committed, in their transaction.
Leaves: a refusal for each that is new and has no room; nothing is written.
If it dies here: nothing was counted but rows, so nothing is lost.

Far below the caps a count of a moment ago decides, together with what this process accepted since. Near a cap each
commit counts anew, one process at a time, so that the caps are exact.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from service.core.caps import Caps, TooMuchWaiting, Waiting, find_refused, is_far_from
from service.core.errors import Unavailable
from service.core.place import Place
from service.gateways.store import accepting, waiting
from service.gateways.store.accepting import NewRequest
from service.gateways.store.database import Connection, Database

_COUNT_PERIOD_SECONDS = 1.0
#: The share of its time that a process has PostgreSQL count, at most.
_COUNTING_SHARE = 0.03


class WaitingRoom:
    """What one process knows of how much waits."""

    def __init__(self, database: Database, caps: Caps) -> None:
        self._database = database
        self._caps = caps
        #: None until the first count: then every commit counts.
        self._counted: Waiting | None = None
        #: What this process gave room since that count began, and since the one under way began.
        self._added: Counter[Place] = Counter()
        self._added_meanwhile: Counter[Place] = Counter()

    async def run(self) -> None:
        """Count again and again until cancelled; rarely, where there is much to count."""
        clock = asyncio.get_running_loop().time
        while True:
            began_at = clock()
            try:
                await self.recount()
            except Unavailable:
                self._counted = None
            await asyncio.sleep(max(_COUNT_PERIOD_SECONDS, (clock() - began_at) / _COUNTING_SHARE))

    async def recount(self) -> None:
        """Count what waits now.

        Raises:
            DatabaseUnavailable: PostgreSQL does not answer.
        """
        self._added_meanwhile = Counter()
        async with self._database.connection() as connection:
            self._counted = await waiting.count_waiting(connection)
        self._added = self._added_meanwhile

    async def refuse(
        self, connection: Connection, requests: Sequence[NewRequest]
    ) -> dict[UUID, TooMuchWaiting]:
        """Return the requests that have no room, and give it to the others; those that are known need none.

        Raises:
            DatabaseUnavailable: PostgreSQL does not answer.
        """
        more = _sizes_of(requests)
        is_total_far, near = self._nearness(more)
        refused: dict[UUID, TooMuchWaiting] = {}
        if near or not is_total_far:
            refused = await self._refuse_exactly(connection, requests, near, is_total_far=is_total_far)
        if refused:
            more = _sizes_of([request for request in requests if request.request_id not in refused])
        self._added.update(more)
        self._added_meanwhile.update(more)
        return refused

    def _nearness(self, more: Counter[Place]) -> tuple[bool, list[Place]]:
        """Tell whether the cap of all is far, and name the workspaces whose cap is not."""
        if self._counted is None:
            return False, list(more)
        counted, added = self._counted, self._added
        total = counted.total + added.total() + more.total()
        near = [
            place
            for place, items in more.items()
            if not is_far_from(self._caps.workspace, counted.by_place.get(place, 0) + added[place] + items)
        ]
        return is_far_from(self._caps.total, total), near

    async def _refuse_exactly(
        self,
        connection: Connection,
        requests: Sequence[NewRequest],
        near: Sequence[Place],
        *,
        is_total_far: bool,
    ) -> dict[UUID, TooMuchWaiting]:
        await waiting.lock_last_places(connection)
        new = await _find_new(connection, requests)
        counted = Waiting(
            total=0 if is_total_far else await waiting.count_all_waiting(connection, up_to=self._caps.total),
            by_place=await waiting.count_waiting_at(connection, near, up_to=self._caps.workspace),
        )
        sizes = [(request.submission.key.place, len(request.submission.pending_item_ids)) for request in new]
        verdicts = zip(new, find_refused(sizes, counted, self._caps), strict=True)
        return {request.request_id: verdict for request, verdict in verdicts if verdict is not None}


async def _find_new(connection: Connection, requests: Sequence[NewRequest]) -> list[NewRequest]:
    """Return those that are not there yet, neither by their id nor by their key."""
    own = await accepting.find_created(connection, [request.request_id for request in requests])
    keys = [(r.caller, r.idempotency_key) for r in requests if r.idempotency_key is not None]
    known = {
        (key.caller, key.idempotency_key)
        for key in (await accepting.find_keys(connection, keys) if keys else ())
    }
    return [r for r in requests if r.request_id not in own and (r.caller, r.idempotency_key) not in known]


def _sizes_of(requests: Sequence[NewRequest]) -> Counter[Place]:
    sizes: Counter[Place] = Counter()
    for request in requests:
        sizes[request.submission.key.place] += len(request.submission.pending_item_ids)
    return sizes
