"""A worker keeps its batch for as long as it is at it."""

from service.emulator.config import EmulatorConfig
from tests.faults.conftest import StackWith
from tests.support.stack import Stack, assert_ledger_agrees, body


async def test_a_call_that_outlives_its_lease_stays_ours(stack_with: StackWith) -> None:
    """IAM and the vendor are slow, each within its time, together beyond the lease: nobody takes the batch over."""
    times = {
        "RELEASE_CALL_TIMEOUT_SECONDS": "4.9",
        "RELEASE_LEASE_SECONDS": "5",
        "RELEASE_SWEEP_SECONDS": "0.3",
    }
    async with stack_with({"latency_seconds": 3}, **times) as stack:
        await stack.start_api()
        await stack.start_worker(**token_settings(stack))
        accepted = await stack.submit(body("1"))
        request = await stack.wait_for(accepted["id"], "released", "in_doubt", within=60.0)
        batch = await stack.batch(request["items"][0]["batch_id"])

        assert request["state"] == "released"
        assert batch["epoch"] == 1
        assert len(await stack.emulator.calls()) == 1
        await assert_ledger_agrees(stack, [request])


def token_settings(stack: Stack) -> dict[str, str]:
    """Return the settings of a worker that gets its tokens from the emulator."""
    user = EmulatorConfig().users[0]
    return {
        "RELEASE_VENDOR_AUTH": "token",
        "RELEASE_IAM_URL": stack.emulator.url,
        "RELEASE_IAM_USER": user.name,
        "RELEASE_IAM_PASSWORD": user.password,
        "RELEASE_IAM_DOMAIN": user.domain,
    }
