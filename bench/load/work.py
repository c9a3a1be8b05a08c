"""The work that every target gets: release requests over 20 workspaces, few of which have most of them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

WORKSPACES = 20
ZIPF = 1.1
APPLICANTS = 2
MOST_ITEMS = 3
HEAD = (
    "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{headers}"
    "Idempotency-Key: {key}\r\nContent-Length: {length}\r\n\r\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How many requests, and what the chances are drawn from."""

    requests: int
    seed: int = 1


def bodies(work: Work) -> list[dict[str, Any]]:
    """Return the bodies of all requests; no item comes twice."""
    chance = random.Random(work.seed)  # noqa: S311 - drawn again in each process, not to be kept secret
    weights = [1 / rank**ZIPF for rank in range(1, WORKSPACES + 1)]
    workspaces = chance.choices(range(WORKSPACES), weights, k=work.requests)
    items = iter(range(1, MOST_ITEMS * work.requests + 1))
    return [_body(workspace, chance, items) for workspace in workspaces]


def count_items(work: Work) -> int:
    """Return how many items all requests have together."""
    return sum(len(body["pending_item_list"]) for body in bodies(work))


def messages(work: Work, *, path: str, headers: dict[str, str]) -> list[bytes]:
    """Return the requests as they go over the wire."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return [
        _message(orjson.dumps(body), path=path, headers=lines, key=f"bench-{number}")
        for number, body in enumerate(bodies(work))
    ]


def _body(workspace: int, chance: random.Random, items: Iterator[int]) -> dict[str, Any]:
    applicant = chance.randrange(APPLICANTS)
    return {
        "workspace": f"ws-{workspace}",
        "apply_user_id": f"applicant-{applicant}",
        "approver_ids": [f"approver-{applicant}"],
        "pending_item_list": [str(next(items)) for _ in range(chance.randint(1, MOST_ITEMS))],
    }


def _message(body: bytes, *, path: str, headers: str, key: str) -> bytes:
    return HEAD.format(path=path, headers=headers, key=key, length=len(body)).encode() + body
