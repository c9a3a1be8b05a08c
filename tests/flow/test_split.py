"""What the list of pending items says about the items of a refused batch, after a call in doubt or without one."""

from datetime import timedelta

import pytest

from service.core.ids import new_id
from service.core.outcomes import NO_WORDS
from service.flow.split import find_bad_items
from service.gateways.store.splitting import Refusal
from tests.main_job.conftest import StackWith, stack_with
from tests.support.stack import package_by_hand
from tests.support.worker_deps import worker_deps

__all__ = ["stack_with"]


def refused(project_id: str, *, was_in_doubt: bool = False, is_part: bool = False) -> Refusal:
    return Refusal(
        batch_id=new_id(),
        epoch=1,
        project_id=project_id,
        workspace="ws-1",
        apply_user_id="applicant",
        package_name="release-ws-1",
        pending_item_ids=("1", "2"),
        attempt_number=1,
        no=NO_WORDS,
        refused_for=timedelta(0),
        was_in_doubt=was_in_doubt,
        is_part=is_part,
    )


@pytest.mark.parametrize(("was_in_doubt", "bad"), [(False, ["2"]), (True, [])])
async def test_after_a_doubt_a_packaged_item_is_not_at_fault(
    stack_with: StackWith,
    database_url: str,
    redis_url: str,
    *,
    was_in_doubt: bool,
    bad: list[str],
) -> None:
    """The package that it is in may be ours; without a doubt it is somebody else's, and explains the refusal."""
    async with stack_with({"authentication": "off"}) as stack:
        await stack.emulator.register_items("ws-1", [{"pending_item_id": item} for item in ("1", "2")])
        await package_by_hand(stack, "2")
        refusal = refused(stack.environment["RELEASE_PROJECT_ID"], was_in_doubt=was_in_doubt)
        async with worker_deps(database_url, redis_url, stack.emulator.url) as deps:
            found = await find_bad_items(deps, refusal)

    assert found is not None
    assert list(found) == bad


async def test_the_list_is_not_asked_again_for_a_part(
    stack_with: StackWith, database_url: str, redis_url: str
) -> None:
    """It had nothing against the items when they were all together, so the part is halved without a read."""
    async with stack_with({"authentication": "off"}) as stack:
        refusal = refused(stack.environment["RELEASE_PROJECT_ID"], is_part=True)
        async with worker_deps(database_url, redis_url, stack.emulator.url) as deps:
            found = await find_bad_items(deps, refusal)
        reads = await stack.emulator.calls("list_pending_items")

    assert found == {}
    assert reads == []
