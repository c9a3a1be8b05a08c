"""The vendor of the measurements, in a process of its own that costs little: ``python -m bench.load.vendor PORT RULES``.

It keeps a ledger in memory, knows the calls that the service makes, and looks at no signature.
"""

import asyncio
import random
import re
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, cast

import orjson
import uvloop

from bench.load.wire import Cutter, Message

_WORKSPACE = re.compile(rb"\r\nworkspace: *([^\r\n]+)", re.IGNORECASE)
_QUERY_NUMBER = re.compile(r"[?&](limit|offset)=(\d+)")
_REASONS = {200: "OK", 404: "Not Found", 429: "Too Many Requests", 503: "Service Unavailable"}
_THROTTLED = orjson.dumps({"error_code": "APIGW.0308", "error_msg": "The throttling threshold has been reached"})
_UNAVAILABLE = b"upstream connect error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How the vendor behaves."""

    seconds: float = 0.02
    #: Calls that a sliding second of one workspace may hold; 0 is any number.
    workspace_rate: int = 0
    #: Share of creates that are answered with 503, without an effect.
    unavailable: float = 0.0
    #: Share of creates whose answer never comes, after the effect.
    lost: float = 0.0
    seed: int = 1


@dataclass(slots=True, kw_only=True)
class Ledger:
    """What the vendor has done so far."""

    packages: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    #: How often each item was packaged.
    items: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    reads: int = 0
    throttled: int = 0
    unavailable: int = 0
    lost: int = 0
    first_at: float = 0.0
    last_at: float = 0.0

    def report(self) -> dict[str, Any]:
        """Return the counts."""
        names = ("calls", "reads", "throttled", "unavailable", "lost", "first_at", "last_at")
        counts = {name: getattr(self, name) for name in names}
        twice = sum(count - 1 for count in self.items.values())
        return {**counts, "items": len(self.items), "duplicates": twice, "cpu_seconds": time.process_time()}


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the API."""

    path: str
    workspace: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a body; with no status the connection ends without an answer."""

    status: int
    body: bytes


class Vendor:
    """Decides about calls."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.ledger = Ledger()
        self._chance = random.Random(rules.seed)  # noqa: S311 - faults, no secret
        self._windows: dict[str, deque[float]] = {}

    def answer(self, call: Call) -> Answer:
        """Carry a call out."""
        path = call.path.partition("?")[0]
        if path.endswith("/pending-items/package"):
            return self._create(call)
        self.ledger.reads += 1
        if path.endswith("/release-packages"):
            return self._list_packages(call)
        if path.endswith("/pending-items"):
            return self._list_items(call)
        return Answer(404, b"{}")

    def admits(self, workspace: str) -> bool:
        """Count a call of a workspace, unless its second is full."""
        if not self.rules.workspace_rate:
            return True
        now = time.monotonic()
        window = self._windows.setdefault(workspace, deque())
        while window and window[0] <= now - 1.0:
            window.popleft()
        if len(window) >= self.rules.workspace_rate:
            self.ledger.throttled += 1
            return False
        window.append(now)
        return True

    def _create(self, call: Call) -> Answer:
        ledger = self.ledger
        ledger.calls += 1
        fate = self._chance.random()
        if fate < self.rules.unavailable:
            ledger.unavailable += 1
            return Answer(503, _UNAVAILABLE)
        package = self._package(call)
        if fate < self.rules.unavailable + self.rules.lost:
            ledger.lost += 1
            return Answer(0, b"")
        shown = {"package_name": package["package_name"], "release_package_id": package["package_id"]}
        return Answer(200, orjson.dumps(shown))

    def _package(self, call: Call) -> dict[str, Any]:
        ledger, asked = self.ledger, orjson.loads(call.body)
        ledger.items.update(asked["pending_item_list"])
        ledger.last_at = time.time()
        ledger.first_at = ledger.first_at or ledger.last_at
        package = {
            "package_id": str(ledger.calls),
            "package_name": asked["package_name"],
            "deploy_status": 1,
            "delete_flag": 0,
            "apply_timestamp": int(1000 * ledger.last_at),
            "apply_user_id": asked["apply_user_id"],
            "package_approvers": [{"user_id": each} for each in asked["approver_ids"]],
            "items": asked["pending_item_list"],
        }
        ledger.packages.setdefault(call.workspace, []).append(package)
        return package

    def _list_packages(self, call: Call) -> Answer:
        asked = orjson.loads(call.body)
        word = asked.get("key_word") or ""
        found = [each for each in self.ledger.packages.get(call.workspace, []) if word in each["package_name"]]
        return _page(found[::-1], limit=int(asked.get("limit", 10)), offset=int(asked.get("offset", 0)))

    def _list_items(self, call: Call) -> Answer:
        asked = {name: int(number) for name, number in _QUERY_NUMBER.findall(call.path)}
        packages = self.ledger.packages.get(call.workspace, [])
        found = [{"pending_item_id": item, "package_flag": 1} for each in packages for item in each["items"]]
        return _page(found, limit=asked.get("limit", 10), offset=asked.get("offset", 0))


class VendorConnection(asyncio.Protocol):
    """One connection of a caller."""

    def __init__(self, vendor: Vendor) -> None:
        self._vendor = vendor
        self._cutter = Cutter()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where to write."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take a call when it is whole."""
        message = self._cutter.feed(data)
        if message is not None:
            self._take(message)

    def _take(self, message: Message) -> None:
        path = message.head.split(b" ", 2)[1].decode()
        if path == "/_report":
            self._write(Answer(200, orjson.dumps(self._vendor.ledger.report())))
            return
        workspace = _WORKSPACE.search(message.head)
        call = Call(path, workspace[1].decode() if workspace else "", message.body)
        if not self._vendor.admits(call.workspace):
            self._write(Answer(429, _THROTTLED))
            return
        later = partial(self._carry_out, call)
        asyncio.get_running_loop().call_later(self._vendor.rules.seconds, later)

    def _carry_out(self, call: Call) -> None:
        self._write(self._vendor.answer(call))

    def _write(self, answer: Answer) -> None:
        assert self._transport is not None  # noqa: S101 - connected before
        if not answer.status:
            self._transport.abort()
            return
        head = (
            f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(answer.body)}\r\n\r\n"
        )
        self._transport.write(head.encode() + answer.body)


def _page(found: list[dict[str, Any]], *, limit: int, offset: int) -> Answer:
    return Answer(200, orjson.dumps({"data": found[offset : offset + limit], "total": len(found)}))


async def serve(port: int, rules: Rules) -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    vendor = Vendor(rules)
    server = await loop.create_server(lambda: VendorConnection(vendor), "127.0.0.1", port, backlog=512)
    print("ready", flush=True)  # noqa: T201 - read by the parent
    await server.serve_forever()


def write_rules(rules: Rules) -> str:
    """Write rules for the command line."""
    return orjson.dumps(asdict(rules)).decode()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), Rules(**orjson.loads(sys.argv[2]))))
