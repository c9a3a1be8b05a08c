"""Whatever strangers send to the façade, the answer has the vendor's form, and is no fault of ours."""

import asyncio
import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.doors.facade.routes import FACADE_ROUTES
from tests.doors.test_fuzz import ANY_JSON, FUZZ, HEADER_TEXT, IDS, Fuzzed
from tests.support.api import Answer, running_replica
from tests.support.servers import Databases, RedisDatabases

CREATE = "/v2/project/factory/pending-items/package"
SIGNATURES = st.builds(
    "SDK-HMAC-SHA256 Access={}, SignedHeaders={}, Signature={}".format,
    st.just("REL00000000000000001") | HEADER_TEXT,
    st.lists(st.sampled_from(["host", "x-sdk-date", "workspace", "x", "ü"]), max_size=4).map(";".join),
    st.just("a" * 64) | HEADER_TEXT,
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Authorization": SIGNATURES | HEADER_TEXT,
        "X-Sdk-Date": st.just("20261129T000000Z") | HEADER_TEXT,
        "X-Auth-Token": HEADER_TEXT,
        "X-Sdk-Content-Sha256": st.just("UNSIGNED-PAYLOAD") | HEADER_TEXT,
        "workspace": IDS | HEADER_TEXT,
        "X-Project-Id": HEADER_TEXT,
        "Content-Type": st.just("application/json") | HEADER_TEXT,
    },
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "apply_user_id": IDS | ANY_JSON,
        "package_name": st.text(max_size=130) | ANY_JSON,
        "pending_item_list": st.lists(IDS, max_size=5) | ANY_JSON,
        "approver_ids": st.lists(IDS, max_size=3) | ANY_JSON,
        "package_ids": st.lists(IDS, max_size=3) | ANY_JSON,
    },
)


@pytest.fixture(scope="module", params=["keys", "off"])
def fuzzed(
    request: pytest.FixtureRequest,
    session_runner: asyncio.Runner,
    databases: Databases,
    migrated_template: str,
    redis_databases: RedisDatabases,
) -> Iterator[Fuzzed]:
    """One replica for all examples, with keys and without, and without a vendor."""
    name = session_runner.run(databases.create(template=migrated_template))
    settings = {
        "RELEASE_DATABASE_URL": databases.url(name),
        "RELEASE_REDIS_URL": session_runner.run(redis_databases.fresh()),
        "RELEASE_AUTH": str(request.param),
        "RELEASE_FACADE_WAIT_SECONDS": "0.02",
    }
    lent = running_replica(settings)
    replica = session_runner.run(lent.__aenter__())
    try:
        yield Fuzzed(session_runner, replica)
    finally:
        session_runner.run(lent.__aexit__(None, None, None))
        session_runner.run(databases.drop(name))


def assert_form(answer: Answer) -> None:
    """Check that an answer is the vendor's in form; without a vendor and a worker nothing is done in time."""
    assert answer.status in {400, 401, 403, 404, 413, 415, 503, 504}, answer.body
    assert answer.headers["Content-Type"].startswith("application/json")
    members = answer.json
    assert isinstance(members["error_code"], str)
    assert isinstance(members["error_msg"], str)
    assert members.get("request_id", answer.headers["X-Request-Id"]) == answer.headers["X-Request-Id"]


@given(
    route=st.sampled_from(FACADE_ROUTES),
    segment=st.text(max_size=20),
    query=st.sampled_from(["", "?", "?a=%ff", "?limit=10&x=+%2B", "?" + "a=1&" * 60]),
    headers=HEADERS,
)
@FUZZ
def test_any_call_is_answered_in_the_vendors_form(
    fuzzed: Fuzzed, route: object, segment: str, query: str, headers: dict[str, str]
) -> None:
    """Any ids, query and headers, signed or not, are refused with a code and words."""
    method, path = (getattr(route, name) for name in ("method", "path"))
    target = path.format(project_id=quote(segment) or "p", package_id=quote(segment) or "1") + query

    assert_form(fuzzed.ask(method, target, headers=headers))


@given(
    document=BODIES | ANY_JSON, place=st.integers(0, 300), byte=st.integers(0, 255), is_damaged=st.booleans()
)
@FUZZ
def test_any_body_is_answered_in_the_vendors_form(
    fuzzed: Fuzzed, document: object, place: int, byte: int, *, is_damaged: bool
) -> None:
    """Any JSON, whole or damaged, is refused, or waits for a release."""
    data = bytearray(json.dumps(document).encode())
    if is_damaged:
        data[place % len(data)] = byte
    headers = {"Content-Type": "application/json", "workspace": "ws-1"}

    for path in (
        CREATE,
        "/v2/project/factory/release-packages",
        "/v2/project/factory/release-packages/deploy",
    ):
        assert_form(fuzzed.ask("POST", path, data=bytes(data), headers=headers))
