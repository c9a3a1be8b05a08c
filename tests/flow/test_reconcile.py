"""A round of looks at doubts whose lists cannot be read."""

from datetime import UTC, datetime, timedelta

from structlog.testing import capture_logs

from service.core.ids import new_id
from service.flow.reconcile import reconcile_workspace
from service.gateways.store.reconciling import Doubt
from tests.support.worker_deps import worker_deps

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def a_doubt(item: str) -> Doubt:
    return Doubt(
        batch_id=new_id(),
        epoch=1,
        project_id="p",
        workspace="w",
        apply_user_id="ann",
        package_name=f"release-{item}",
        batch_key=new_id(),
        counted_attempts=1,
        created_at=NOW,
        pending_item_ids=frozenset({item}),
        siblings=frozenset(),
        attempt_number=1,
        in_doubt_since=NOW,
        was_refused=False,
        last_words=None,
        evidence={},
        now=NOW + timedelta(seconds=1),
    )


async def test_a_list_that_cannot_be_read_is_said_once(database_url: str, redis_url: str) -> None:
    """All doubts of a workspace share a read, so its failure is one line, not one for each."""
    doubts = [a_doubt(str(number)) for number in range(5)]
    async with worker_deps(database_url, redis_url) as deps:
        with capture_logs() as lines:
            await reconcile_workspace(deps, doubts)
    failed = [line for line in lines if line["event"] == "read.failed"]

    assert [(line.get("workspace"), line.get("doubts")) for line in failed] == [("w", 5)]
