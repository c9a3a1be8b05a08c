"""What every HTTP answer has in common: headers, problems, and that no request breaks the process."""

import asyncio
import json

import pytest

from service.doors import http
from tests.support.api import REQUESTS, Replica
from tests.support.raw_http import exchange, port_of
from tests.support.sql import fetch_value
from tests.support.stack import body
from tests.support.waiting import eventually

UNKNOWN_ID = "01a20c90-d17e-7ddc-9a17-59560f4323c6"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not-found"),
        ("POST", "/v1/nothing", 404, "not-found"),
        ("GET", "//evil.example/v1", 404, "not-found"),
        ("GET", REQUESTS + "/", 404, "not-found"),
        ("DELETE", REQUESTS, 405, "method-not-allowed"),
        ("PUT", f"{REQUESTS}/{UNKNOWN_ID}", 405, "method-not-allowed"),
        ("POST", "/livez", 405, "method-not-allowed"),
        ("OPTIONS", REQUESTS, 405, "method-not-allowed"),
        ("GET", f"{REQUESTS}/{UNKNOWN_ID}", 404, "not-found"),
        ("GET", f"{REQUESTS}/{UNKNOWN_ID}/events", 404, "not-found"),
        ("GET", f"/v1/batches/{UNKNOWN_ID}", 404, "not-found"),
        ("GET", f"{REQUESTS}/no-uuid", 404, "not-found"),
        ("GET", f"{REQUESTS}/%00", 404, "not-found"),
        ("GET", f"{REQUESTS}/%ff%fe", 404, "not-found"),
        ("GET", f"{REQUESTS}/{'9' * 3_000}", 404, "not-found"),
        ("GET", "/v1/batches/%F0%9F%8E%89", 404, "not-found"),
        ("GET", f"{REQUESTS}/{UNKNOWN_ID}?state=done", 400, "invalid-parameter"),
        ("GET", f"{REQUESTS}/{UNKNOWN_ID}?wait=1&wait=2", 400, "invalid-parameter"),
        ("GET", f"{REQUESTS}/{UNKNOWN_ID}?%ff=1", 400, "invalid-parameter"),
        ("GET", "/livez?x", 400, "invalid-parameter"),
        ("GET", f"/v1/batches/{UNKNOWN_ID}?verbose", 400, "invalid-parameter"),
    ],
)
async def test_errors_are_problems(replica: Replica, method: str, path: str, status: int, code: str) -> None:
    """Whatever is wrong with method, path or query, the answer is a problem with a stable code."""
    answer = await replica.ask(method, path, headers={"X-Request-Id": "mine-1"})

    assert (answer.status, answer.code) == (status, code)
    assert answer.json["request_id"] == "mine-1"
    assert answer.json["instance"].split("/")[:3] == path.partition("?")[0].split("/")[:3]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert ("Allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize("path", ["/livez", "/readyz", REQUESTS + "/{id}", REQUESTS + "/{id}/events"])
async def test_head_answers_as_get_without_a_body(replica: Replica, path: str) -> None:
    """HEAD has the status and headers of GET."""
    accepted = await replica.accept(body("1"))
    get = await replica.get(path.format(id=accepted["id"]))
    head = await replica.ask("HEAD", path.format(id=accepted["id"]))

    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(get.body))
    assert head.headers.get("ETag") == get.headers.get("ETag")


@pytest.mark.parametrize("given", ["a", "x" * 128, "01a20c90-d17e.7ddc:9a17_5"])
async def test_a_good_request_id_is_echoed(replica: Replica, given: str) -> None:
    """Callers may bring a request id of their own."""
    answer = await replica.get("/livez", X_Request_Id=given)

    assert answer.headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "ü", "<script>", 'a"b'])
async def test_a_bad_request_id_is_replaced(replica: Replica, given: str) -> None:
    """What could forge a log line or a page is not repeated."""
    answer = await replica.get("/livez", X_Request_Id=given)

    assert answer.headers["X-Request-Id"] not in {given, ""}


async def test_every_answer_has_the_headers_of_the_contract(replica: Replica) -> None:
    """Each answer has a request id, nosniff, and says whether it may be kept."""
    accepted = await replica.post(body("1"))
    answers = {
        "no-store": [accepted, await replica.get("/livez"), await replica.get("/readyz")],
        "private, no-cache": [await replica.get(accepted.headers["Location"])],
    }

    for cache_control, some in answers.items():
        for answer in some:
            assert answer.headers["Cache-Control"] == cache_control
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (TRACEPARENT, TRACEPARENT),
        (TRACEPARENT.upper(), None),
        (TRACEPARENT + "-more", None),
        ("nonsense", None),
        (TRACEPARENT.replace("-", "_"), None),
    ],
)
async def test_a_good_traceparent_is_kept_and_a_bad_one_ignored(
    replica: Replica, database_url: str, given: str, kept: str | None
) -> None:
    """A trace context is stored with the request; one that is none never fails it."""
    accepted = await replica.accept(body("1"), traceparent=given)
    query = "SELECT traceparent FROM release_requests WHERE id = $1"
    stored = await fetch_value(database_url, query, accepted["id"])

    assert stored == kept


async def test_health_says_what_answers(replica: Replica) -> None:
    """With everything there both are ok, and the verbose form names each part."""
    live, ready = await replica.get("/livez"), await replica.get("/readyz?verbose")

    assert live.json["status"] == "ok"
    assert ready.json["status"] == "ok"
    assert ready.json["checks"] == {"postgres": "ok", "redis": "ok"}


HEAD = b"POST /v1/release-requests HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
VALID = json.dumps(body("1")).encode()


async def test_a_chunk_that_breaks_later_is_a_problem(replica: Replica) -> None:
    """A body whose chunks break off after a good start is 400, not an error of ours."""
    parts = HEAD + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n', b"xyz\r\n"
    answer = await exchange(port_of(replica.url), *parts)

    assert answer.split(b" ")[1] == b"400"


async def test_a_body_that_does_not_come_is_given_up(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller that stops in the middle of its body is told so and holds nothing for longer."""
    monkeypatch.setattr(http, "BODY_SECONDS", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(replica.url))
    writer.write(HEAD + b"Content-Length: 500\r\n\r\n" + VALID[:10])
    async with asyncio.timeout(5):
        answer = await reader.readuntil(b'"code":"request-timeout"')
    writer.close()

    assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("sent", [VALID[:10], b""])
async def test_a_body_shorter_than_announced_is_no_error_of_ours(
    replica: Replica, capfd: pytest.CaptureFixture[str], sent: bytes
) -> None:
    """A caller that goes away in the middle of its body leaves no traceback in the log and no request."""
    logged: list[str] = []
    await exchange_and_leave(replica, HEAD + b"Content-Length: 500\r\n\r\n" + sent)

    def is_served() -> bool:
        logged.append(capfd.readouterr().out)
        return "http.served" in "".join(logged)

    await eventually(is_served)

    assert "http_status=400" in "".join(logged)
    assert "http.failed" not in "".join(logged)
    assert (await replica.get("/livez")).status == 200


async def exchange_and_leave(replica: Replica, data: bytes) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port_of(replica.url))
    writer.write(data)
    await writer.drain()
    writer.transport.abort()


async def test_a_high_byte_in_the_path_is_a_problem(replica: Replica) -> None:
    """A path that is not UTF-8 is answered as any other that leads nowhere."""
    answer = await exchange(
        port_of(replica.url), b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )

    assert answer.split(b" ")[1] in {b"400", b"404"}
