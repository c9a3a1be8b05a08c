"""What a test tells and asks the emulator: ledger, faults, pending items, approvals and holds."""

import time
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, TypeVar, assert_never

import orjson
from aiohttp import web
from pydantic import ConfigDict, Field, TypeAdapter

from service.emulator.config import DEFAULT_PROJECT_ID
from service.emulator.emulator import EMULATOR, Emulator
from service.emulator.events import DeployStatus, FaultsSet, ItemRegistered, PackageMarked
from service.emulator.faults import Faults
from service.emulator.holds import HoldPoint
from service.emulator.parsing import Invalid, parse

T = TypeVar("T")

_MAX_WAIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedItem:
    """One pending item as a test submits it."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    pending_item_id: Annotated[str, Field(min_length=1)]
    item_name: str | None = None
    submit_user_id: str = "de7e10be2000000000000000000de001"
    task_type: Literal[1, 2] = 1
    update_type: Literal[1, 2, 3] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Pending items of one workspace."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    workspace: Annotated[str, Field(min_length=3, max_length=64)]
    items: tuple[SubmittedItem, ...]
    project_id: str = DEFAULT_PROJECT_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """What becomes of a package."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    package_id: str
    action: Literal["approve", "revoke", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldOrder:
    """Where the next create call is to be held."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    point: HoldPoint


_FAULTS = TypeAdapter(Faults)
_SUBMISSION = TypeAdapter(Submission)
_APPROVAL = TypeAdapter(Approval)
_HOLD_ORDER = TypeAdapter(HoldOrder)

routes = web.RouteTableDef()


@routes.get("/_ledger")
async def show_ledger(http_request: web.Request) -> web.Response:
    """Show calls (from index ``since`` on), packages, and the items that are in two live packages."""
    since = http_request.query.get("since", "0")
    if not since.isdecimal():
        return _refuse(f"since: expected a whole number, given {since!r}")
    book = http_request.app[EMULATOR].ledger.book
    return _show(
        {
            "calls": book.calls[int(since) :],
            "packages": list(book.packages.values()),
            "duplicates": book.duplicates(),
        }
    )


@routes.get("/_faults")
async def show_faults(http_request: web.Request) -> web.Response:
    """Show the faults in force."""
    return _show(http_request.app[EMULATOR].faults)


@routes.put("/_faults")
async def replace_faults(http_request: web.Request) -> web.Response:
    """Put the faults of the body in force; what it leaves out goes back to its default."""
    return _set_faults(http_request.app[EMULATOR], await http_request.read(), keeps_counts=False)


@routes.patch("/_faults")
async def merge_faults(http_request: web.Request) -> web.Response:
    """Change only the members of the body; counts go on unless it has rules or a seed."""
    emulator = http_request.app[EMULATOR]
    changes = parse(TypeAdapter(dict[str, object]), await http_request.read())
    if isinstance(changes, Invalid):
        return _refuse(changes.sentence)
    merged = {**_FAULTS.dump_python(emulator.faults, mode="json"), **changes}
    keeps_counts = not {"rules", "seed"}.intersection(changes)
    return _set_faults(emulator, orjson.dumps(merged), keeps_counts=keeps_counts)


@routes.delete("/_faults")
async def clear_faults(http_request: web.Request) -> web.Response:
    """Go back to a vendor on a good day."""
    return _set_faults(http_request.app[EMULATOR], b"{}", keeps_counts=False)


@routes.post("/_items")
async def register_items(http_request: web.Request) -> web.Response:
    """Register pending items, as developers who submit versions do."""
    submission = parse(_SUBMISSION, await http_request.read())
    if isinstance(submission, Invalid):
        return _refuse(submission.sentence)
    now = time.time()
    http_request.app[EMULATOR].ledger.append(*(_register(submission, item, now) for item in submission.items))
    return _show({"registered": len(submission.items)})


@routes.post("/_approve")
async def approve(http_request: web.Request) -> web.Response:
    """Approve or revoke a package, or let its deployment fail."""
    approval = parse(_APPROVAL, await http_request.read())
    if isinstance(approval, Invalid):
        return _refuse(approval.sentence)
    ledger = http_request.app[EMULATOR].ledger
    if approval.package_id not in ledger.book.packages:
        return _refuse(f"package_id: no such package, given {approval.package_id!r}")
    ledger.append(_settle(approval, http_request.app[EMULATOR]))
    return _show(ledger.book.packages[approval.package_id])


@routes.post("/_hold")
async def arm_hold(http_request: web.Request) -> web.Response:
    """Hold the next create call that reaches a point."""
    order = parse(_HOLD_ORDER, await http_request.read())
    if isinstance(order, Invalid):
        return _refuse(order.sentence)
    http_request.app[EMULATOR].hold.arm(order.point)
    return _show_hold(http_request.app[EMULATOR])


@routes.get("/_hold")
async def show_hold(http_request: web.Request) -> web.Response:
    """Tell whether a call is held; with ``wait``, as soon as one is, or after so many seconds."""
    wait = http_request.query.get("wait", "0")
    if not wait.replace(".", "", 1).isdecimal():
        return _refuse(f"wait: expected seconds, given {wait!r}")
    emulator = http_request.app[EMULATOR]
    await emulator.hold.wait_until_held(min(float(wait), _MAX_WAIT_SECONDS))
    return _show_hold(emulator)


@routes.post("/_release")
async def let_go(http_request: web.Request) -> web.Response:
    """Let the held call go on."""
    http_request.app[EMULATOR].hold.let_go()
    return _show_hold(http_request.app[EMULATOR])


def _set_faults(emulator: Emulator, body: bytes, *, keeps_counts: bool) -> web.Response:
    faults = parse(_FAULTS, body)
    if isinstance(faults, Invalid):
        return _refuse(faults.sentence)
    emulator.ledger.append(FaultsSet(faults=faults, keeps_counts=keeps_counts))
    return _show(faults)


def _register(submission: Submission, item: SubmittedItem, now: float) -> ItemRegistered:
    return ItemRegistered(
        project_id=submission.project_id,
        workspace=submission.workspace,
        pending_item_id=item.pending_item_id,
        item_name=item.item_name or f"job_{item.pending_item_id}",
        submit_user_id=item.submit_user_id,
        task_type=item.task_type,
        update_type=item.update_type,
        at=now,
    )


def _settle(approval: Approval, emulator: Emulator) -> PackageMarked:
    package = emulator.ledger.book.packages[approval.package_id]
    match approval.action:
        case "approve":
            status = DeployStatus.SUCCESS
        case "fail":
            status = DeployStatus.FAILED
        case "revoke":
            status = package.deploy_status
        case _:
            assert_never(approval.action)
    return PackageMarked(
        package_id=package.package_id,
        deploy_status=status,
        is_deleted=approval.action == "revoke",
        at=time.time(),
        by=package.approver_ids[0],
    )


def _show_hold(emulator: Emulator) -> web.Response:
    hold = emulator.hold
    return _show({"armed": hold.armed, "held": hold.call is not None, "call": hold.call})


def _show(document: object) -> web.Response:
    return web.Response(body=orjson.dumps(document), content_type="application/json")


def _refuse(sentence: str) -> web.Response:
    body = orjson.dumps({"error": sentence})
    return web.Response(status=400, body=body, content_type="application/json")
