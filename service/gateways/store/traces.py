"""The trace contexts of requests: read only where somebody traces."""

from collections.abc import Sequence
from typing import LiteralString
from uuid import UUID

from service.gateways.store.database import Connection

#: OpenTelemetry keeps so many links of a span, and one more is its parent.
MOST_TRACES = 129

TRACES_OF_BATCHES: LiteralString = """
SELECT r.traceparent
FROM release_requests AS r
WHERE
    r.id = ANY(ARRAY(SELECT i.request_id FROM release_items AS i WHERE i.batch_id = ANY($1::uuid[])))
    AND r.traceparent IS NOT NULL
GROUP BY r.traceparent
ORDER BY min(r.created_at)
LIMIT $2
"""


async def traces_of_batches(connection: Connection, batch_ids: Sequence[UUID]) -> list[str]:
    """Return the trace contexts of the requests that have items in these batches, each once, the oldest first."""
    rows = await connection.fetch(TRACES_OF_BATCHES, batch_ids, MOST_TRACES)
    return [row["traceparent"] for row in rows]
