"""Bodies that cannot be accepted: every one is a problem that says what to do, and none is stored."""

import gzip
import io
import json
from collections.abc import AsyncIterator

import pytest

from tests.support.api import REQUESTS, Answer, Replica
from tests.support.sql import count_requests
from tests.support.stack import body

JSON = "application/json"


@pytest.fixture(autouse=True)
async def nothing_is_stored(database_url: str) -> AsyncIterator[None]:
    """No test of this module may leave a request behind."""
    yield
    assert await count_requests(database_url) == 0


def pointers(answer: Answer) -> dict[str, str]:
    return {error["pointer"]: error["code"] for error in answer.json["errors"]}


async def test_every_error_of_a_body_is_named_at_once(replica: Replica) -> None:
    """A body with many errors gets one answer with a pointer, a code and a sentence for each."""
    answer = await replica.post(
        {
            "workspace": "not a name",
            "apply_user_id": "ann",
            "approver_ids": ["ann", "bob", "bob"],
            "pending_item_list": ["1", 2, "", "x" * 65],
            "priority": "urgent",
            "deadline": "2001-01-01T00:00:00Z",
            "labels": {"a b": "x", "n": 1},
            "note": "x" * 1_001,
            "colour": "red",
        }
    )

    assert (answer.status, answer.code) == (422, "invalid-request")
    assert pointers(answer).keys() >= {
        "/workspace",
        "/approver_ids",
        "/approver_ids/0",
        "/pending_item_list/1",
        "/pending_item_list/2",
        "/pending_item_list/3",
        "/priority",
        "/deadline",
        "/labels/n",
        "/note",
        "/colour",
    }
    assert all(error["code"] and error["detail"].endswith(".") for error in answer.json["errors"])


@pytest.mark.parametrize("missing", ["apply_user_id", "approver_ids", "pending_item_list", "workspace"])
async def test_a_missing_member_is_named(replica: Replica, missing: str) -> None:
    """A body without a member that is needed is told which."""
    sent = body("1")
    del sent[missing]

    assert pointers(await replica.post(sent)) == {f"/{missing}": "missing"}


@pytest.mark.parametrize(
    ("member", "value", "pointer"),
    [
        ("approver_ids", [], "/approver_ids"),
        ("approver_ids", ["applicant"], "/approver_ids/0"),
        ("approver_ids", "bob", "/approver_ids"),
        ("pending_item_list", [], "/pending_item_list"),
        ("pending_item_list", ["1", "1"], "/pending_item_list"),
        ("pending_item_list", [str(n) for n in range(1_001)], "/pending_item_list"),
        ("pending_item_list", [str(n) for n in range(10_000)], "/pending_item_list"),
        ("pending_item_list", [{"id": "1"}], "/pending_item_list/0"),
        ("pending_item_list", ["ü"], "/pending_item_list/0"),
        ("apply_user_id", None, "/apply_user_id"),
        ("apply_user_id", "x\n", "/apply_user_id"),
        ("not_before", "tomorrow", "/not_before"),
        ("not_before", "2030-01-01T00:00:00", "/not_before"),
        ("not_before", 5, "/not_before"),
        ("deadline", "2001-01-01T00:00:00Z", "/deadline"),
        ("package_name", "", "/package_name"),
        ("package_name", "a\tb", "/package_name"),
        ("labels", ["team"], "/labels"),
        ("priority", 1, "/priority"),
    ],
)
async def test_a_value_that_breaks_a_rule_is_named(
    replica: Replica, member: str, value: object, pointer: str
) -> None:
    """One wrong value is one error, at its place."""
    answer = await replica.post(body("1") | {member: value})

    assert (answer.status, answer.code) == (422, "invalid-request")
    assert set(pointers(answer)) == {pointer}


@pytest.mark.parametrize("document", [b"[]", b'"text"', b"1", b"null", b"true", b"[[[[]]]]"])
async def test_json_that_is_no_object_is_invalid(replica: Replica, document: bytes) -> None:
    """A body must be an object: anything else is 422 at the root."""
    answer = await replica.post(document)

    assert (answer.status, answer.code) == (422, "invalid-request")
    assert set(pointers(answer)) == {""}


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b'{"a": 1} x',
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"note": "\\u0000"}',
        b'{"note": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"note": "\xff"}',
        b'\xef\xbb\xbf{"note": "byte order mark"}',
        b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}",
        b"[" * 500_000,
        b'{"a": ' + b"1" * 10_000 + b"}",
    ],
    ids=lambda document: repr(document[:24]),
)
async def test_what_is_not_json_that_we_take_is_malformed(replica: Replica, document: bytes) -> None:
    """Broken JSON, and JSON that readers disagree about, is 400 with a sentence."""
    answer = await replica.post(document)

    assert (answer.status, answer.code) == (400, "malformed-json")


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "nonsense",
        "application/json, text/plain",
    ],
)
async def test_other_content_types_are_refused(replica: Replica, content_type: str | None) -> None:
    """Anything but JSON in UTF-8 is 415."""
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = await replica.ask("POST", REQUESTS, data=json.dumps(body("1")).encode(), headers=headers)

    assert (answer.status, answer.code) == (415, "unsupported-media-type")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity, gzip", "GZIP", "nonsense"])
async def test_compressed_bodies_are_refused(replica: Replica, encoding: str) -> None:
    """A compressed body is 415, whatever the compression, and is never unpacked."""
    packed = gzip.compress(json.dumps(body("1")).encode())
    headers = {"Content-Type": JSON, "Content-Encoding": encoding}
    answer = await replica.ask("POST", REQUESTS, data=packed, headers=headers)

    assert (answer.status, answer.code) == (415, "unsupported-media-type")


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_body_over_1_mib_is_refused(replica: Replica, *, is_chunked: bool) -> None:
    """A body of 2 MB is 413, also when its length is not announced."""
    large = json.dumps(body("1") | {"note": "x" * 2_000_000}).encode()

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 65_536):
            yield large[start : start + 65_536]

    data = chunks() if is_chunked else io.BytesIO(large)
    answer = await replica.ask("POST", REQUESTS, data=data, headers={"Content-Type": JSON})

    assert (answer.status, answer.code) == (413, "too-large")


async def test_unknown_query_parameters_are_refused(replica: Replica) -> None:
    """A query parameter that the route does not know is 400 and named."""
    headers = {"Content-Type": JSON}
    answer = await replica.ask(
        "POST", f"{REQUESTS}?dry=1", data=json.dumps(body("1")).encode(), headers=headers
    )

    assert (answer.status, answer.code) == (400, "invalid-parameter")
    assert "'dry'" in answer.json["detail"]
