"""A call as the gateway received it, with what its path and body say about it."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

import orjson

from service.emulator.operations import Operation, Route, find_route

MAX_BODY_BYTES = 12 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """When the request line and headers were in: the wall clock, and a clock that only runs forward."""

    at: float
    started: float

    @classmethod
    def now(cls) -> "Arrival":
        """Read both clocks."""
        return cls(at=time.time(), started=time.monotonic())


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """The parts of a request; the target is as it stands in the request line, header names are case-blind."""

    method: str
    target: str
    headers: Mapping[str, str]
    #: None when it was over what the gateway reads.
    body: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorCall:
    """A request that was read to its end and has its place in the ledger."""

    index: int
    request_id: str
    arrival: Arrival
    received: Received
    route: Route
    #: The JSON body; None where there is none or it cannot be read.
    document: object = field(repr=False)

    @property
    def operation(self) -> Operation:
        """What the call asks for."""
        return self.route.operation

    @property
    def project_id(self) -> str:
        """The project of the path."""
        return self.route.project_id

    @property
    def workspace(self) -> str:
        """The workspace of the header, or of the path for users; empty where the call names none."""
        if self.operation is Operation.LIST_USERS:
            return self.route.subject_id
        return self.received.headers.get("workspace", "")

    @property
    def path(self) -> str:
        """The path of the target, still escaped."""
        return self.received.target.partition("?")[0]

    @property
    def query(self) -> list[tuple[str, str]]:
        """The pairs of the query, unescaped, in the order given; a plus sign is a plus sign."""
        text = self.received.target.partition("?")[2]
        pairs = [pair.partition("=") for pair in text.split("&") if pair]
        return [(unquote(name), unquote(value)) for name, _, value in pairs]

    @property
    def items(self) -> tuple[str, ...]:
        """The pending items that the body lists, as far as they are strings."""
        listed = self.members.get("pending_item_list")
        return tuple(item for item in listed if isinstance(item, str)) if isinstance(listed, list) else ()

    @property
    def members(self) -> dict[str, object]:
        """The members of the body; none when the body is no JSON object."""
        return self.document if isinstance(self.document, dict) else {}


def receive(received: Received, arrival: Arrival, *, index: int) -> VendorCall:
    """Find out what a request asks for."""
    return VendorCall(
        index=index,
        request_id=os.urandom(16).hex(),
        arrival=arrival,
        received=received,
        route=find_route(received.method, received.target.partition("?")[0]),
        document=_read_json(received.body),
    )


def _read_json(body: bytes | None) -> object:
    if not body:
        return None
    try:
        document: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return document
