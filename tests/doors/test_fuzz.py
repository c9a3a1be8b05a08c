"""Whatever strangers send, the answer is the contract's: never a 5xx, and every error a problem."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.api import REQUESTS, Answer, Replica, running_replica
from tests.support.servers import Databases, RedisDatabases

FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
IDS = st.from_regex(r"[A-Za-z0-9_.:-]{1,6}", fullmatch=True)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
ANY_JSON = st.recursive(
    SCALARS,
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4)
    ),
)
MEMBERS = {
    "project_id": IDS | ANY_JSON,
    "workspace": IDS | ANY_JSON,
    "apply_user_id": IDS | ANY_JSON,
    "approver_ids": st.lists(IDS, max_size=3) | ANY_JSON,
    "pending_item_list": st.lists(IDS, max_size=5) | ANY_JSON,
    "package_name": st.text(max_size=130) | ANY_JSON,
    "not_before": st.datetimes().map(lambda moment: moment.isoformat() + "Z") | ANY_JSON,
    "deadline": st.datetimes().map(lambda moment: moment.isoformat() + "+14:00") | ANY_JSON,
    "priority": st.sampled_from(["high", "normal", "low"]) | ANY_JSON,
    "labels": st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3) | ANY_JSON,
    "note": st.text(max_size=50) | ANY_JSON,
}
BODIES = st.fixed_dictionaries({}, optional=MEMBERS)
GOOD_BODIES = st.fixed_dictionaries(
    {
        "workspace": IDS,
        "apply_user_id": st.just("ann"),
        "approver_ids": st.lists(IDS, min_size=1, max_size=3, unique=True),
        "pending_item_list": st.lists(IDS, min_size=1, max_size=5, unique=True),
    },
    optional={
        name: MEMBERS[name]
        for name in ("package_name", "not_before", "deadline", "priority", "labels", "note")
    },
)
HEADER_TEXT = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), max_size=30
)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "Idempotency-Key",
            "Prefer",
            "X-Request-Id",
            "traceparent",
            "If-None-Match",
            "Accept",
            "Authorization",
        ]
    ),
    HEADER_TEXT,
    max_size=4,
)
QUERIES = st.lists(
    st.tuples(st.sampled_from(["wait", "page_size", "page_token", "verbose", "x"]), st.text(max_size=12)),
    max_size=3,
)


class Fuzzed:
    """A replica that examples of Hypothesis, which know no event loop, can ask."""

    def __init__(self, runner: asyncio.Runner, replica: Replica) -> None:
        self._runner = runner
        self._replica = replica

    def ask(self, method: str, path: str, **options: Any) -> Answer:  # noqa: ANN401 - whatever a request takes
        """Make a request."""
        return self._runner.run(self._replica.ask(method, path, **options))


@pytest.fixture(scope="module")
def fuzzed(
    session_runner: asyncio.Runner,
    databases: Databases,
    migrated_template: str,
    redis_databases: RedisDatabases,
) -> Iterator[Fuzzed]:
    """One replica for all examples."""
    name = session_runner.run(databases.create(template=migrated_template))
    redis_url = session_runner.run(redis_databases.fresh())
    lent = running_replica({"RELEASE_DATABASE_URL": databases.url(name), "RELEASE_REDIS_URL": redis_url})
    replica = session_runner.run(lent.__aenter__())
    try:
        yield Fuzzed(session_runner, replica)
    finally:
        session_runner.run(lent.__aexit__(None, None, None))
        session_runner.run(databases.drop(name))


def assert_contract(answer: Answer) -> None:
    """Check that an answer is none of ours to be ashamed of."""
    assert answer.status < 500, answer.body
    if answer.status >= 400:
        assert answer.code


@given(document=BODIES | GOOD_BODIES | ANY_JSON, headers=HEADERS)
@FUZZ
def test_any_json_is_answered_by_the_contract(
    fuzzed: Fuzzed, document: object, headers: dict[str, str]
) -> None:
    """Any JSON with any headers is accepted or refused with a problem."""
    headers = {name: value for name, value in headers.items() if name != "Prefer"}
    answer = fuzzed.ask(
        "POST",
        REQUESTS,
        data=json.dumps(document).encode(),
        headers=headers | {"Content-Type": "application/json"},
    )

    assert_contract(answer)
    assert answer.status in {200, 202, 400, 409, 422}


@given(document=GOOD_BODIES, seed=st.integers(0, 255), at=st.integers(0, 200), cut=st.integers(0, 3))
@FUZZ
def test_any_damage_to_a_good_body_is_answered_by_the_contract(
    fuzzed: Fuzzed, document: object, seed: int, at: int, cut: int
) -> None:
    """A good body with bytes replaced or lost is accepted or refused with a problem."""
    good = json.dumps(document).encode()
    place = at % len(good)
    damaged = good[:place] + bytes([seed]) + good[place + cut :]
    answer = fuzzed.ask("POST", REQUESTS, data=damaged, headers={"Content-Type": "application/json"})

    assert_contract(answer)


@given(raw=st.binary(max_size=200), content_type=HEADER_TEXT, encoding=HEADER_TEXT)
@FUZZ
def test_any_bytes_of_any_type_are_answered_by_the_contract(
    fuzzed: Fuzzed, raw: bytes, content_type: str, encoding: str
) -> None:
    """Any bytes under any media type and encoding are refused with a problem."""
    headers = {"Content-Type": content_type, "Content-Encoding": encoding}
    answer = fuzzed.ask("POST", REQUESTS, data=raw, headers=headers)

    assert_contract(answer)
    assert answer.status in {400, 415}


@given(
    path=st.sampled_from(
        ["/livez", "/readyz", REQUESTS, f"{REQUESTS}/{{}}", f"{REQUESTS}/{{}}/events", "/v1/batches/{}"]
    ),
    segment=st.text(max_size=20) | st.uuids().map(str),
    query=QUERIES,
    headers=HEADERS,
)
@FUZZ
def test_any_path_and_query_is_answered_by_the_contract(
    fuzzed: Fuzzed, path: str, segment: str, query: list[tuple[str, str]], headers: dict[str, str]
) -> None:
    """Any id, query and headers of a read get an answer of the contract."""
    answer = fuzzed.ask("GET", path.format(quote(segment)) + "?" + urlencode(query), headers=headers)

    assert_contract(answer)
