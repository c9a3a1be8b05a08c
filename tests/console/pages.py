"""The pages that people see, in one list: for pictures, and for what must hold of each."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.console.stack import ConsoleStack


@dataclass(frozen=True, slots=True)
class Shown:
    """A page of the console: its name in file names and test ids, and where it is."""

    name: str
    path: Callable[[ConsoleStack], str]

    def __str__(self) -> str:
        """Name it."""
        return self.name


def _at(path: str) -> Callable[[ConsoleStack], str]:
    return lambda _: path


def _request(state: str) -> Shown:
    return Shown(f"request-{state.replace('_', '-')}", lambda stack: f"/requests/{stack.requests[state]}")


def _workspace(stack: ConsoleStack) -> str:
    return f"/workspaces/{stack.stack.environment['RELEASE_PROJECT_ID']}/archive"


def _ticked(stack: ConsoleStack) -> str:
    ids = (stack.requests[state] for state in ("waiting_paused", "released", "expired"))
    return f"/requests/ticked?action=cancel&{'&'.join(f'id={one}' for one in ids)}"


#: What those without a key see.
OUTSIDE = (Shown("login", _at("/login")),)

#: What an admin sees: one page of each kind, of which everything must hold that holds of all.
INSIDE = (
    Shown("overview", _at("/")),
    Shown("requests", _at("/requests")),
    Shown("requests-none", _at("/requests?item=no-such-item")),
    _request("partly_released"),
    _request("needs_attention"),
    _request("waiting_paused"),
    Shown("batches", _at("/batches")),
    Shown("batch", lambda stack: f"/batches/{stack.batches['needs_attention']}"),
    Shown("attention", _at("/attention")),
    Shown("workspaces", _at("/workspaces")),
    Shown("workspace", _workspace),
    Shown("workers", _at("/workers")),
    Shown("operations", _at("/operations")),
    Shown("operation-new", _at("/operations/new?action=retry&state=failed")),
    Shown("audit", _at("/audit")),
    Shown("audit-report", _at("/audit/report")),
    Shown("keys", _at("/keys")),
    Shown("keys-new", _at("/keys/new")),
    Shown("about", _at("/about")),
)

#: More of the same kinds, and pages that have tests of their own: for pictures.
MORE = (
    *map(
        _request,
        (
            "released",
            "rejected",
            "failed",
            "in_doubt",
            "waiting_breaker",
            "waiting_for_its_time",
            "cancelled",
            "expired",
        ),
    ),
    Shown("ticked", _ticked),
    Shown("gone", _at("/batches/01600000-0000-7000-8000-000000000000")),
    Shown("docs", _at("/docs")),
    Shown("problem", _at("/problems/item-conflict")),
)
