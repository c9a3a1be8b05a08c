"""Lists what came through the queue and is no release request, so that nobody has to guess why nothing happened.

Takes: an entry of the queue, and what is wrong with it.
Leaves: a row that callers of its workspace can see; of the same entry one.
If it dies here: the entry is still on the queue; the next worker does the same.
"""

from datetime import timedelta

from service.core.rejects import Reject
from service.deps import Deps
from service.gateways.store import rejects

#: More than anybody reads, and little enough for any disk: about 100 MB, should strangers fill each row.
MOST_KEPT = 10_000
KEPT_FOR = timedelta(days=30)


async def keep_reject(deps: Deps, reject: Reject) -> None:
    """List something that was refused, before it leaves the queue.

    Raises:
        DatabaseUnavailable: it is not listed, so it has to stay on the queue.
    """
    async with deps.database.connection() as connection:
        await rejects.insert_reject(connection, reject)


async def forget_old_rejects(deps: Deps) -> None:
    """Delete what is too much or too old.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    async with deps.database.connection() as connection:
        await rejects.forget_rejects(connection, keep=MOST_KEPT, kept_for=KEPT_FOR)
