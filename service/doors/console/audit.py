"""The pages of the audit trail, and of the audit itself, for admins."""

from uuid import UUID

from aiohttp import web

from service.core.audit_trail import AuditEntry, KeptEntry
from service.core.auditing import Rule
from service.doors import problems
from service.doors.console.checks import CHECKS
from service.doors.console.difference import changes_between
from service.doors.console.lists import path_of, read_list
from service.doors.console.visit import Visit
from service.doors.problems import ProblemError
from service.gateways.store.audit_log import TrailFilter, list_entries

#: What is done, as the trail calls it.
ACTIONS = (
    "request.cancelled",
    "request.retried",
    "operation.started",
    "operation.aborted",
    "batch.resolved",
    "workspace.paused",
    "workspace.resumed",
    "workspace.flushed",
    "workspace.settings_changed",
    "package.to_be_deployed",
    "package.deployed",
    "package.not_deployed",
    "package.to_be_unpacked",
    "package.unpacked",
    "package.not_unpacked",
    "key.created",
    "key.revoked",
)
_FIELDS = ("action", "target")
#: Where what was acted on has a page of its own.
_PAGES = {"request": "/requests", "batch": "/batches", "operation": "/operations"}


async def trail(visit: Visit) -> web.StreamResponse:
    """Show who changed what, when and why, the newest first."""
    view = read_list(visit.request, _FIELDS)
    if not all(text.isprintable() for text in view.filters.values()):
        raise ProblemError(problems.invalid_parameter("Expected filters without control characters."))
    wanted = TrailFilter(action=view.filters.get("action"), target=view.filters.get("target"))
    entries = await visit.deps.database.read_one_moment(
        lambda connection: list_entries(
            connection, wanted, visible=visit.visible, before=view.page.behind_id, limit=view.page.limit
        )
    )
    shown, token = view.page.cut(entries, _position_of)
    return visit.render(
        "audit.html",
        view=view,
        rows=[(one, changes_between(one.entry.before, one.entry.after)) for one in shown],
        next_path=view.path_of_page(token),
        actions=ACTIONS,
        page_of=page_of,
        sees_all=visit.known_caller.sees_all,
    )


def _position_of(kept: KeptEntry) -> tuple[str, ...]:
    return (str(kept.entry_id),)


def page_of(entry: AuditEntry) -> str | None:
    """Return the page of what was acted on, where it has one."""
    kind = entry.action.partition(".")[0]
    if kind == "workspace" and entry.project_id and entry.workspace:
        return path_of("/requests", {"project_id": entry.project_id, "workspace": entry.workspace})
    if kind not in _PAGES:
        return None
    try:
        return f"{_PAGES[kind]}/{UUID(entry.target)}"
    except ValueError:
        return None


async def check(visit: Visit) -> web.StreamResponse:
    """Show what every rule found a minute ago at most, or that an audit runs; the vendor's lists are the command's."""
    is_refresh = "HX-Request" in visit.request.headers
    standing = await visit.request.app[CHECKS].look(may_start=not is_refresh)
    return visit.render(
        "audit_report.html", report=standing.report, runs_for=standing.runs_for, vendor=Rule.A7
    )


async def check_again(visit: Visit) -> web.StreamResponse:
    """Begin another audit."""
    await visit.read_form()
    visit.request.app[CHECKS].start()
    return visit.go_to("/audit/report")
