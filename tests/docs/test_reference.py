"""The tables of the docs must be equal to the code."""

import ast
import itertools
import re
import tomllib
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

import pytest

from service.core.config import Settings
from service.core.model import (
    DONE_REQUEST_STATES,
    AttemptOutcome,
    BatchState,
    ClosedBy,
    ItemState,
    RequestState,
    WaitReason,
)
from service.core.rejects import EntryFault
from service.core.telemetry import LogEvent
from service.doors.console.audit import ACTIONS
from service.doors.console.routes import PAGES
from service.doors.facade.routes import FACADE_ROUTES
from service.doors.openapi import openapi_document
from service.doors.routes import ROUTES, Guarded
from service.gateways.vendor.throttling import MAX_RETRY_AFTER
from tests.docs.markdown import REPOSITORY, Page
from tests.docs.test_container import OTEL_VARIABLES

#: What `.env.example` names beside the settings.
CREDENTIALS = {"HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK"}


def setting_names() -> set[str]:
    return {str(field.alias) for field in Settings.model_fields.values()}


def test_every_setting_is_in_the_table_with_its_default(tmp_path: Path) -> None:
    """docs/configuration.md names all settings and no other, and its defaults are the code's."""
    rows = Page.read("docs/configuration.md").section("Settings").rows()
    text = Page.read("docs/configuration.md").section("Settings").text
    written = {name: default for name, default, *_ in rows if f"| `{name}` | `{default}` |" in text}

    assert setting_names() == {name for name, *_ in rows}
    assert Settings.from_env({}, secrets=tmp_path) == Settings.from_env(written, secrets=tmp_path)
    assert {"RELEASE_HTTP_PORT", "RELEASE_LEASE_SECONDS"} <= written.keys()


def test_defaults_are_left_out_only_where_there_is_none(tmp_path: Path) -> None:
    """A setting without a value in the table has none in the code either."""
    section = Page.read("docs/configuration.md").section("Settings")
    unwritten = {
        name for name, default, *_ in section.rows() if f"| `{name}` | `{default}` |" not in section.text
    }
    defaults = Settings.from_env({}, secrets=tmp_path)
    nothing = {str(f.alias) for name, f in Settings.model_fields.items() if getattr(defaults, name) is None}

    assert nothing == unwritten


def test_the_example_file_has_every_setting_with_its_default(tmp_path: Path) -> None:
    """.env.example names all settings, and taking its comment signs off changes nothing."""
    text = (REPOSITORY / ".env.example").read_text(encoding="utf-8")
    given = dict(re.findall(r"^#([A-Z_]+)=(.*)$", text, re.MULTILINE))

    assert setting_names() | CREDENTIALS | OTEL_VARIABLES == given.keys()
    assert Settings.from_env({}, secrets=tmp_path) == Settings.from_env(given, secrets=tmp_path)


@pytest.mark.parametrize(
    ("heading", "states"),
    [
        ("Release request", RequestState),
        ("Item", ItemState),
        ("Batch", BatchState),
        ("Outcome of an attempt", AttemptOutcome),
        ("Why a window was closed", ClosedBy),
        ("Why a request waits", WaitReason),
    ],
)
def test_every_state_is_explained(heading: str, states: type[StrEnum]) -> None:
    """The tables of docs/states.md have the members of the enums, in their order."""
    rows = Page.read("docs/states.md").section(heading).rows()

    assert [state.value for state in states] == [row[0] for row in rows]


def test_the_table_says_which_states_are_done() -> None:
    """What docs/states.md calls done is done in the code."""
    rows = Page.read("docs/states.md").section("Release request").rows()

    assert {state.value for state in DONE_REQUEST_STATES} == {row[0] for row in rows if row[1] == "yes"}


def test_every_endpoint_is_in_the_table() -> None:
    """docs/http-api.md lists all routes with their scopes, and no other."""
    rows = Page.read("docs/http-api.md").section("General").rows()
    served = {
        (f"{route.method} {route.path}", " or ".join(route.scopes) if isinstance(route, Guarded) else "none")
        for route in ROUTES
    }

    assert served == {(endpoint, scope) for endpoint, scope, _ in rows}


def test_every_member_of_a_release_request_is_in_the_table() -> None:
    """docs/http-api.md explains all members of the body, says which are required, and has no other."""
    members, *_ = Page.read("docs/http-api.md").section("POST /v1/release-requests").tables()
    schema = openapi_document(ROUTES)["components"]["schemas"]["ReleaseRequestBody"]

    assert {name for name, _ in members} == schema["properties"].keys()
    assert {name for name, said in members if said.startswith("required:")} == set(schema["required"])


def test_every_call_of_the_facade_is_in_the_table() -> None:
    """docs/facade.md lists all calls of the vendor that are served, with their scopes, and no other."""
    rows = Page.read("docs/facade.md").rows()
    served = {(f"{route.method} {route.path}", route.scope.value) for route in FACADE_ROUTES}

    assert served == {(row[0], row[1]) for row in rows if "/v2/" in row[0]}


def test_every_page_of_the_console_is_in_the_table() -> None:
    """docs/console.md lists all pages with their scopes, and no other."""
    rows = Page.read("docs/console.md").section("The console").rows()
    served = {(f"{page.method} {page.path}", " or ".join(page.scopes)) for page in PAGES}

    assert served == {(row[0], row[1]) for row in rows}


def test_every_problem_is_in_the_table() -> None:
    """docs/http-api.md lists all codes of problems with their status, and no other."""
    rows = Page.read("docs/http-api.md").section("Problems").rows()

    assert problems_in_code() == {(code, int(status)) for code, status, _ in rows}


def problems_in_code() -> set[tuple[str, int]]:
    """Find the constant codes in the modules of problems, with their status."""
    modules = (REPOSITORY / "service/doors").glob("*problems.py")
    trees = [ast.parse(module.read_text(encoding="utf-8")) for module in modules]
    found = set()
    for node in itertools.chain.from_iterable(ast.walk(tree) for tree in trees):
        match node:
            case ast.Call(func=ast.Name(id="Problem"), keywords=keywords):
                constants = {k.arg: k.value.value for k in keywords if isinstance(k.value, ast.Constant)}
                if "code" in constants:
                    found.add((str(constants["code"]), int(str(constants["status"]))))
            case ast.Dict(keys=[ast.Constant(value=int()), *_], values=values):
                codes = [v.elts[0] for v in values if isinstance(v, ast.Tuple)]
                for key, code in zip(node.keys, codes, strict=True):
                    found.add((ast.literal_eval(code), ast.literal_eval(key or code)))
            case _:
                pass
    return found


def test_every_code_of_a_reject_is_in_the_table() -> None:
    """docs/queue-door.md explains what keeps an entry from being run, in the order of the code."""
    rows = Page.read("docs/queue-door.md").section("Rejects").rows()

    assert [fault.value for fault in EntryFault] == [row[0] for row in rows][-len(EntryFault) :]


def test_every_log_event_is_in_the_table() -> None:
    """docs/events.md explains all events of the catalogue, in its order."""
    rows = Page.read("docs/events.md").section("Of the log").rows()

    assert [event.value for event in LogEvent] == [row[0] for row in rows]
    assert all(meaning and deed for *_, meaning, deed in rows)


def test_every_event_of_a_request_is_in_the_table() -> None:
    """docs/events.md has an event for each state, and the one of a retry, whose state is `accepted`."""
    rows = Page.read("docs/events.md").section("Of a request").rows()
    changes = [f"request.{state}" for state in RequestState]

    assert [*changes, "request.retried"] == [row[0] for row in rows]


def test_every_action_of_the_audit_trail_is_in_the_table() -> None:
    """docs/events.md has the actions by which the console filters, in their order."""
    rows = Page.read("docs/events.md").section("Of the audit trail").rows()

    assert list(ACTIONS) == [row[0] for row in rows]


def test_the_longest_pause_is_told_as_it_is() -> None:
    """docs/operations.md and the limiter's script know the same longest `Retry-After` as the reader of answers."""
    text = Page.read("docs/operations.md").section("When something is away").text
    script = (REPOSITORY / "service/gateways/limiter/bounds.lua").read_text(encoding="utf-8")

    assert timedelta(hours=1) == MAX_RETRY_AFTER
    assert "a `Retry-After` is obeyed for an hour at most" in text
    assert f"local LONGEST_PAUSE = {MAX_RETRY_AFTER // timedelta(milliseconds=1)} " in script


def test_every_direct_dependency_has_its_reason() -> None:
    """docs/decisions/0002 has a line for each package that the service needs to run."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [re.split(r"[^A-Za-z0-9-]", requirement)[0] for requirement in project["dependencies"]]

    assert needed == [row[0] for row in Page.read("docs/decisions/0002-libraries.md").rows()]
