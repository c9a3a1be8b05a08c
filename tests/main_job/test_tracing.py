"""One trace over intake, batch and vendor call, as a receiver of traces sees it; and nothing that waits for one."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service.client import QueueProducer
from service.core.tracing import SpanField
from service.emulator.config import DEFAULT_PROJECT_ID
from tests.conftest import StartService
from tests.docs.markdown import Page
from tests.main_job.conftest import StackWith
from tests.support.nursery import REPOSITORY
from tests.support.otlp import OtlpReceiver, SeenSpan, otlp_receiver, tracing_to
from tests.support.stack import Stack, body, free_port

#: The caller's traces, by their last digit.
TRACE = "4bf92f3577b34da6a3ce929d0e0e473"
CALLERS_SPAN = "00f067aa0ba902b7"
FACADE = f"/v2/{DEFAULT_PROJECT_ID}/factory/pending-items/package"
#: A batch leaves when it is full, and never else.
UNTIL_FULL = {
    "RELEASE_BATCH_MAX_ITEMS": "6",
    "RELEASE_BATCH_QUIET_SECONDS": "60",
    "RELEASE_BATCH_LINGER_SECONDS": "60",
}
#: The second is no header, which OpenTelemetry says with the whole text.
OTLP_SECRETS = {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20canary-of-otlp,canary-without-a-name"}
#: Longer than a process may take for its last spans, shorter than any timeout of the exporter.
SOON = 20.0


def trace(number: int, *, flags: str = "01") -> str:
    """Return the trace context of a caller."""
    return f"00-{TRACE}{number}-{CALLERS_SPAN}-{flags}"


async def accept_span(receiver: OtlpReceiver, number: int, name: str, *, kind: str = "server") -> SeenSpan:
    """Wait for the span of an intake, which must be a child of its caller's."""
    span = await receiver.wait_for(kind, name, trace_id=f"{TRACE}{number}")
    assert span.parent_id == CALLERS_SPAN
    return span


async def hand_in_by_all_doors(stack: Stack) -> list[str]:
    """Hand in five requests of one batch: the first and the last are not sampled by their callers."""
    ids = [(await stack.submit(body("0"), traceparent=trace(0, flags="00")))["id"]]
    ids.append((await stack.submit(body("1"), traceparent=trace(1)))["id"])
    lines = {"requests": [body("2"), body("3")]}
    headers = {"traceparent": trace(2)}
    address = f"{stack.url}/v1/release-requests:batch"
    async with stack.http.post(address, json=lines, headers=headers) as response:
        results = (await response.json())["results"]
        ids += [result["release_request"]["id"] for result in results]
    async with QueueProducer(stack.redis_url) as producer:
        queued = await producer.enqueue(body("4"), traceparent=trace(4))
        ids.append((await queued.result(timeout=20))["id"])
    ids.append((await stack.submit(body("5"), traceparent=trace(5, flags="00")))["id"])
    return ids


async def test_one_trace_joins_intake_batch_and_vendor_call(stack_with: StackWith) -> None:
    """The batch goes on with the first sampled trace and has links to the others, and the vendor gets its call's."""
    async with (
        otlp_receiver() as receiver,
        stack_with(**UNTIL_FULL, **tracing_to(receiver.url)) as stack,
    ):
        await stack.start_api()
        worker = await stack.start_worker()
        ids = await hand_in_by_all_doors(stack)
        requests = await stack.wait_until_at_rest(ids)
        batch = await receiver.wait_for("internal", "release batch", trace_id=f"{TRACE}1")
        call = await receiver.wait_for(
            "client", "POST /v2/{project_id}/factory/pending-items/package", trace_id=f"{TRACE}1"
        )
        alone = await accept_span(receiver, 1, "POST /v1/release-requests")
        many = await accept_span(receiver, 2, "POST /v1/release-requests:batch")
        queued = await accept_span(receiver, 4, "process release_request", kind="consumer")
        signposts = [
            await receiver.wait_for("internal", "release batch (see link)", trace_id=intake.trace_id)
            for intake in (many, queued)
        ]
        (vendor_call,) = await stack.emulator.calls()
        line = json.loads((await worker.wait_for_line(r'^.*"batch\.released".*$'))[0])

    assert {"released"} == {request["state"] for request in requests}
    assert (202, ids[1]) == (alone.facts[SpanField.HTTP_STATUS], alone.facts[SpanField.REQUEST_ID])
    assert ids[4] == queued.facts[SpanField.REQUEST_ID]
    assert alone.span_id == batch.parent_id
    assert frozenset({many.span_id, queued.span_id}) == batch.links
    assert facts_of_batch(requests) == {name: batch.facts[name] for name in facts_of_batch(requests)}
    assert [post.parent_id for post in signposts] == [many.span_id, queued.span_id]
    assert [(post.links, post.facts) for post in signposts] == [(frozenset({batch.span_id}), batch.facts)] * 2
    assert batch.span_id == call.parent_id
    assert f"{stack.emulator.url}{FACADE}" == call.facts[SpanField.URL_FULL]
    assert vendor_call["request_id"] == call.facts[SpanField.VENDOR_REQUEST_ID]
    assert vendor_call["traceparent"] == call.traceparent
    assert (batch.trace_id, batch.span_id) == (line["trace_id"], line["span_id"])
    assert receiver.of(f"{TRACE}0") == receiver.of(f"{TRACE}5") == []
    assert {"batch-release"} == {span.resource["service.name"] for span in receiver.spans}
    assert {fact for span in receiver.spans for fact in span.facts} <= set(SpanField)


def facts_of_batch(requests: list[dict[str, Any]]) -> dict[str, object]:
    return {
        SpanField.BATCH_ID: requests[0]["items"][0]["batch_id"],
        SpanField.PROJECT_ID: DEFAULT_PROJECT_ID,
        SpanField.WORKSPACE: "ws-1",
        SpanField.ITEMS: 6,
        SpanField.ATTEMPT: 1,
        SpanField.EPOCH: 1,
        SpanField.OUTCOME: "released",
        SpanField.BATCH_STATE: "released",
    }


async def test_a_doubt_is_looked_up_in_the_trace_that_it_belongs_to(stack_with: StackWith) -> None:
    """A call whose answer was lost is a failed span, and the reads that find its package are in the same trace."""
    settings = {"RELEASE_SETTLE_SECONDS": "0.5", "RELEASE_RECHECK_SECONDS": "0.5"}
    lost = {"rules": [{"fault": "drop_after", "count": 1}]}
    async with (
        otlp_receiver() as receiver,
        stack_with(lost, **settings, **tracing_to(receiver.url)) as stack,
    ):
        await stack.start_api()
        await stack.start_worker()
        made = {"package_name": "by-an-sdk", **body("1")}
        async with stack.http.post(
            f"{stack.url}{FACADE}", json=made, headers={"workspace": "ws-1", "traceparent": trace(1)}
        ) as response:
            answer = await response.json()
        called = await accept_span(receiver, 1, "POST /v2/{project_id}/factory/pending-items/package")
        look = await receiver.wait_for("internal", "reconcile", trace_id=called.trace_id)
        read = await receiver.wait_for(
            "client", "POST /v2/{project_id}/factory/release-packages", trace_id=called.trace_id
        )
        batch = await receiver.wait_for("internal", "release batch", trace_id=called.trace_id)
        (call,) = [span for span in receiver.of(called.trace_id) if span.parent_id == batch.span_id]
        reads = await stack.emulator.calls("list_packages")

    assert answer["package_name"] == "by-an-sdk"
    assert (call.is_failed, call.facts[SpanField.ERROR_TYPE]) == (True, "connection_lost")
    assert batch.facts[SpanField.OUTCOME] == "in_doubt"
    assert (called.span_id, called.span_id) == (batch.parent_id, look.parent_id)
    assert look.span_id == read.parent_id
    assert read.traceparent in {one["traceparent"] for one in reads}


async def test_the_look_for_what_was_refused_is_in_the_trace(stack_with: StackWith) -> None:
    """A refused call is a failed span with the vendor's code, and the read that follows is in the same trace."""
    async with (
        otlp_receiver() as receiver,
        stack_with({"poisoned_items": ["bad"]}, **tracing_to(receiver.url)) as stack,
    ):
        await stack.start_api()
        await stack.start_worker()
        accepted = await stack.submit(body("good", "bad"), traceparent=trace(1))
        await stack.wait_for(accepted["id"], "partly_released")
        intake = await accept_span(receiver, 1, "POST /v1/release-requests")
        look = await receiver.wait_for("internal", "explain refusal", trace_id=intake.trace_id)
        read = await receiver.wait_for(
            "client", "GET /v2/{project_id}/factory/pending-items", trace_id=intake.trace_id
        )
        refused = [span for span in receiver.of(intake.trace_id) if span.is_failed]

    assert (look.parent_id, read.parent_id) == (intake.span_id, look.span_id)
    assert {span.facts[SpanField.VENDOR_ERROR_CODE] for span in refused} == {"DLF.3051"}
    assert {span.facts[SpanField.ERROR_TYPE] for span in refused} == {"400"}


@pytest.mark.parametrize("receiver_is", ["away", "silent"])
async def test_nothing_waits_for_a_receiver(stack_with: StackWith, receiver_is: str) -> None:
    """With a receiver that is away or answers nothing, work goes on, one line says so, and processes end soon."""
    async with otlp_receiver() as receiver:
        receiver.answers.clear()
        url = f"http://127.0.0.1:{free_port()}" if receiver_is == "away" else receiver.url
        timeout = "0.5" if receiver_is == "away" else "60"
        settings = {**tracing_to(url), "OTEL_EXPORTER_OTLP_TIMEOUT": timeout, **OTLP_SECRETS}
        async with stack_with(**settings) as stack:
            api, worker = await stack.start_api(), await stack.start_worker()
            for item in ("1", "2"):
                accepted = await stack.submit(body(item), traceparent=trace(1))
                await stack.wait_for(accepted["id"], "released")
                if receiver_is == "away":
                    await worker.wait_for_line("traces.lost")
            if receiver_is == "silent":
                await asyncio.wait_for(receiver.was_asked.wait(), SOON)
            ends = [await stop(process) for process in (api, worker)]
            said = api.stderr + worker.stderr

    assert ends == [0, 0]
    assert worker.stderr.count("traces.lost") == (1 if receiver_is == "away" else 0)
    assert "opentelemetry.exporter" not in said
    assert [secret for secret in ("canary-of-otlp", "canary-without-a-name") if secret in said] == []


async def stop(process: Any) -> int:  # noqa: ANN401 - a process of the stack
    process.send(signal.SIGTERM)
    code: int = await process.wait(within=SOON)
    return code


@pytest.fixture
def without_opentelemetry(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that has the package without its extra."""
    package = tmp_path / "without" / "opentelemetry"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'opentelemetry'\", name='opentelemetry')\n"
    )
    return {"PYTHONPATH": f"{package.parent}:{REPOSITORY}"}


@pytest.mark.parametrize("command", ["api", "worker"])
async def test_a_start_without_the_extra_is_refused(
    start_service: StartService, without_opentelemetry: dict[str, str], command: str
) -> None:
    """Who asks for traces without having installed what makes them is told how, in one sentence."""
    process = start_service(command, environment={**without_opentelemetry, "RELEASE_TRACING": "otlp"})

    assert await process.wait() == 2
    assert process.stderr == (
        "batch-release: RELEASE_TRACING: expected off, since opentelemetry is not installed; given otlp: "
        "pip install 'batch-release[otel]'\n"
    )


async def test_a_protocol_that_is_not_spoken_is_refused(start_service: StartService) -> None:
    """OTLP over gRPC is asked for in vain, and the start says so."""
    variables = {"RELEASE_TRACING": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    process = start_service("api", environment=variables)

    assert await process.wait() == 2
    assert process.stderr == (
        "batch-release: OTEL_EXPORTER_OTLP_PROTOCOL: expected http/protobuf; given grpc\n"
    )


async def test_off_needs_nothing_and_hands_the_callers_trace_on(
    stack_with: StackWith, without_opentelemetry: dict[str, str]
) -> None:
    """Without the extra the service works, and the vendor gets the trace context of the caller as it is."""
    async with stack_with(**without_opentelemetry) as stack:
        await stack.start_api()
        await stack.start_worker()
        accepted = await stack.submit(body("1"), traceparent=trace(1))
        await stack.wait_for(accepted["id"], "released")
        (call,) = await stack.emulator.calls()

    assert trace(1) == call["traceparent"]


def test_off_imports_nothing_of_opentelemetry() -> None:
    """A process that does not trace has nothing of OpenTelemetry in its memory."""
    program = "import sys, service.cli; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in run.stdout.split()}

    assert "service" in loaded
    assert not loaded & {"opentelemetry", "google", "requests"}


def test_every_fact_of_a_span_is_in_the_table() -> None:
    """docs/tracing.md lists all attributes of our spans, in the order of the code."""
    rows = Page.read("docs/tracing.md").section("Attributes").rows()

    assert [field.value for field in SpanField] == [row[0] for row in rows]
