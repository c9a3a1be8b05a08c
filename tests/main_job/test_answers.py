"""What each kind of answer of the vendor leads to."""

from typing import Any

import pytest

from tests.main_job.conftest import StackWith
from tests.support.stack import Stack, body
from tests.support.waiting import eventually

FAST = {
    "RELEASE_BACKOFF_BASE_SECONDS": "0.1",
    "RELEASE_BACKOFF_CAP_SECONDS": "0.3",
    "RELEASE_MAX_ATTEMPTS": "3",
}


async def batch_of(stack: Stack, request: dict[str, Any]) -> dict[str, Any]:
    return await stack.batch(request["items"][0]["batch_id"])


async def test_a_definite_no_is_final_and_keeps_the_vendors_words(stack_with: StackWith) -> None:
    """400 DLF.3051 ends the request rejected after one call, with the vendor's code and message."""
    async with stack_with({"poisoned_items": ["bad"]}) as stack:
        await stack.start_api()
        await stack.start_worker()
        accepted = await stack.submit(body("bad"))
        request = await stack.wait_for(accepted["id"], "rejected")
        batch = await batch_of(stack, request)
        error = request["items"][0]["error"]

        assert len(await stack.emulator.calls()) == 1
        assert error["code"] == "vendor-rejected"
        assert error["retryable"] is False
        assert error["vendor"]["status"] == 400
        assert error["vendor"]["error_code"] == "DLF.3051"
        assert error["vendor"]["error_msg"] == "The request parameter is invalid."
        assert request["error"] == error
        assert [attempt["outcome"] for attempt in batch["attempts"]] == ["rejected"]
        assert batch["attempts"][0]["vendor_request_id"] == error["vendor"]["request_id"]


@pytest.mark.parametrize(
    "fault",
    [
        "500_before",
        "500_after",
        "502_after",
        "503_after",
        "504_after",
        "drop_before",
        "drop_after",
        "half_answer",
        "garbage_200",
        "empty_200",
        "no_id_200",
        "redirect_302",
        "html_502",
    ],
)
async def test_an_answer_that_leaves_doubt_is_shown_and_not_sent_again_by_itself(
    stack_with: StackWith, fault: str
) -> None:
    """Until the lists are asked it stays in doubt, its attempt on record; sweeps and later work do not resend it."""
    async with stack_with({"rules": [{"fault": fault, "count": 1}]}, RELEASE_SWEEP_SECONDS="0.2") as stack:
        await stack.start_api()
        await stack.start_worker()
        accepted = await stack.submit(body("1"))
        request = await stack.wait_for(accepted["id"], "in_doubt")
        later = await stack.submit(body("2"))
        await stack.wait_for(later["id"], "released")
        batch = await batch_of(stack, request)

        assert (await stack.show(accepted["id"]))["state"] == "in_doubt"
        assert request["wait_reason"] == "reconciling"
        assert [call["items"] for call in await stack.emulator.calls()] == [["1"], ["2"]]
        assert batch["state"] == "in_doubt"
        assert [attempt["outcome"] for attempt in batch["attempts"]] == ["in_doubt"]
        assert batch["attempts"][0]["sent_at"] is not None


async def test_a_call_that_takes_too_long_is_in_doubt(stack_with: StackWith) -> None:
    """An answer that does not come within the call timeout leaves doubt, within the lease."""
    settings = {"RELEASE_CALL_TIMEOUT_SECONDS": "0.5", "RELEASE_LEASE_SECONDS": "2"}
    async with stack_with({"rules": [{"fault": "hang_after", "count": 1}]}, **settings) as stack:
        await stack.start_api()
        await stack.start_worker()
        accepted = await stack.submit(body("1"))
        request = await stack.wait_for(accepted["id"], "in_doubt", within=3.0)

        assert (await batch_of(stack, request))["epoch"] == 1, "settled by its own worker, not taken over"


async def test_what_was_not_executed_is_tried_again_with_growing_pauses(stack_with: StackWith) -> None:
    """503 APIGW.0613 is resent under the same name until it works, one attempt each."""
    async with stack_with({"rules": [{"fault": "503_before", "count": 2}]}, **FAST) as stack:
        await stack.start_api()
        await stack.start_worker()
        accepted = await stack.submit(body("1"))
        request = await stack.wait_for(accepted["id"], "released")
        calls = await stack.emulator.calls()

        assert request["attempts"] == 3
        assert [call["status"] for call in calls] == [503, 503, 200]
        assert len({call["package_name"] for call in calls}) == 1
        assert calls[1]["at"] - calls[0]["at"] >= 0.05


async def test_attempts_that_are_used_up_end_the_request_failed(stack_with: StackWith) -> None:
    """After the maximum of attempts the request is failed, with the reason, and not sent again."""
    async with stack_with({"rules": [{"fault": "503_before"}]}, **FAST) as stack:
        await stack.start_api()
        await stack.start_worker()
        accepted = await stack.submit(body("1"))
        request = await stack.wait_for(accepted["id"], "failed")
        batch = await batch_of(stack, request)

        assert len(await stack.emulator.calls()) == 3
        assert request["attempts"] == 3
        assert request["error"]["code"] == "vendor-unavailable"
        assert request["error"]["retryable"] is True
        assert request["error"]["vendor"]["error_code"] == "APIGW.0613"
        assert [attempt["outcome"] for attempt in batch["attempts"]] == ["not_sent"] * 3


async def test_a_vendor_that_cannot_be_reached_is_tried_again(stack_with: StackWith) -> None:
    """With nobody listening nothing is sent; when the vendor is back, the request is released."""
    settings = FAST | {"RELEASE_MAX_ATTEMPTS": "50"}
    async with stack_with(**settings) as stack:
        await stack.start_api()
        await stack.start_worker()
        stack.emulator.kill()
        accepted = await stack.submit(body("1"))
        waiting = await stack.wait_for(accepted["id"], "batched")
        await stack.emulator.restart()
        request = await stack.wait_for(accepted["id"], "released")

        assert waiting["wait_reason"] == "backoff"
        assert waiting["not_before"] is not None
        assert request["attempts"] > 1


@pytest.mark.parametrize("is_wrong_secret", [True, False])
async def test_a_refused_signature_opens_the_breaker_at_once(
    stack_with: StackWith, *, is_wrong_secret: bool
) -> None:
    """One refusal stops all calls of the credential, so that the key is not locked, and costs no attempt."""
    faults = {} if is_wrong_secret else {"rules": [{"fault": "signature_refused", "count": 1}]}
    settings = {"HUAWEICLOUD_SDK_SK": "not-the-secret"} if is_wrong_secret else {}
    async with stack_with(faults, RELEASE_SWEEP_SECONDS="0.2", **settings) as stack:
        await stack.start_api()
        worker = await stack.start_worker()
        ids = await stack.submit_all([body(str(n), workspace=f"ws-{n}") for n in range(5)])
        await worker.wait_for_line("breaker.opened")

        async def all_held() -> bool:
            shown = [await stack.show(request_id) for request_id in ids]
            return all(request["wait_reason"] == "breaker_open" for request in shown)

        await eventually(all_held, within=10.0)
        shown = [await stack.show(request_id) for request_id in ids]

        assert len(await stack.emulator.calls()) == 1
        assert {request["attempts"] for request in shown} == {0}
        assert all(request["not_before"] is not None for request in shown)


async def test_tokens_are_renewed_once_and_the_batch_goes_on(stack_with: StackWith) -> None:
    """With token authentication an expired token is one refusal, a new token, and a release; no attempt is lost."""
    async with stack_with() as stack:
        token_auth = {
            "RELEASE_VENDOR_AUTH": "token",
            "RELEASE_IAM_URL": stack.emulator.url,
            "RELEASE_IAM_USER": "emulator",
            "RELEASE_IAM_PASSWORD": "emulator-password",
            "RELEASE_IAM_DOMAIN": "emulator-domain",
        }
        await stack.start_api()
        await stack.start_worker(**token_auth)
        first = await stack.submit(body("1"))
        await stack.wait_for(first["id"], "released")
        await stack.emulator.put_faults({"rules": [{"fault": "token_expired", "count": 1}]})
        second = await stack.submit(body("2"))
        request = await stack.wait_for(second["id"], "released")
        tokens = await stack.emulator.calls("create_token")

        assert request["attempts"] == 1
        assert [call["status"] for call in await stack.emulator.calls()] == [200, 401, 200]
        assert len(tokens) == 2
