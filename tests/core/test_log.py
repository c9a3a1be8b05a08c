"""The log: one form, one line an event, and no secret in any."""

import io
import json
import logging
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.core.api_key import new_api_key
from service.core.masking import MASK, ValueMask, mask_secrets, mask_text
from tests.support.logs import caught_log

SECRET = "hunter2-hunter2"
AWKWARD_SECRET = "pa\"ss\\wörd's"
DATABASE_URL = "postgresql://release:p%40ss-w0rd@db.example.com/release"
SECRETS = (SECRET, AWKWARD_SECRET, DATABASE_URL, "short")


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """The lines of a process that writes off a terminal."""
    with caught_log(secrets=SECRETS) as stream:
        yield stream


@pytest.fixture
def console() -> Iterator[io.StringIO]:
    """The columns of a process that writes to a terminal."""
    with caught_log(log_format="console", secrets=SECRETS) as stream:
        yield stream


class WithoutRepr:
    """An object that cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


def only_event(stream: io.StringIO) -> dict[str, Any]:
    (line,) = stream.getvalue().splitlines()
    event: dict[str, Any] = json.loads(line)
    return event


def raise_with(text: str) -> None:
    raise ValueError(text)


def test_off_a_terminal_an_event_is_a_line_of_json(lines: io.StringIO) -> None:
    """A line has the event's name, its level, its time in UTC and its fields."""
    batch_id = UUID(int=1)
    structlog.get_logger().info("batch.sealed", batch_id=batch_id, items=3, at_once=True, nothing=None)
    event = only_event(lines)

    assert abs(datetime.fromisoformat(event.pop("at")) - datetime.now(UTC)).total_seconds() < 60
    assert event == {
        "event": "batch.sealed",
        "level": "info",
        "batch_id": str(batch_id),
        "items": 3,
        "at_once": True,
        "nothing": None,
    }


def test_the_libraries_lines_have_the_same_form(lines: io.StringIO) -> None:
    """What a library says through stdlib logging is an event of ours with its name and its words, no more."""
    logging.getLogger("aiohttp.server").warning("%d bytes of %s", 3, "x", extra={"peer": "p"})
    event = only_event(lines)
    del event["at"]

    assert event == {
        "event": "library.said",
        "level": "warning",
        "library": "aiohttp.server",
        "words": "3 bytes of x",
    }


def test_a_library_has_few_words(lines: io.StringIO) -> None:
    """A stranger's id of any length costs the log a few hundred characters, and no cut shows a part of a secret."""
    logging.getLogger("arq.worker").warning("job %s expired", "x" * 5_000)
    logging.getLogger("library").warning("%s%s", "x" * 290, SECRET)
    long, cut = (json.loads(line)["words"] for line in lines.getvalue().splitlines())

    assert long == "job " + "x" * 296
    assert cut == "x" * 290 + MASK


@pytest.mark.parametrize(("library", "has_traceback"), [("arq.worker", False), ("aiohttp.server", True)])
def test_of_arq_no_traceback_is_shown(lines: io.StringIO, library: str, *, has_traceback: bool) -> None:
    """What a stranger's entry breaks in arq is told in a line; an error in another library is shown whole."""
    try:
        raise_with("no job")
    except ValueError:
        logging.getLogger(library).exception("deserializing job x failed")

    assert ("exception" in only_event(lines)) == has_traceback


def test_what_was_bound_for_the_request_is_on_every_line(lines: io.StringIO) -> None:
    """Context that a door binds once is on the lines of libraries, too."""
    with structlog.contextvars.bound_contextvars(http_request_id="r-1"):
        structlog.get_logger().info("http.served")
        logging.getLogger("aiohttp.server").error("broken")

    assert [json.loads(line)["http_request_id"] for line in lines.getvalue().splitlines()] == ["r-1", "r-1"]


def test_lines_under_the_level_are_left_out(lines: io.StringIO) -> None:
    """A level says the least that is worth a line; the libraries' chatter is not."""
    structlog.get_logger().debug("permit.refused")
    logging.getLogger("asyncio").info("chatter")
    logging.getLogger("arq.worker").info("chatter")

    assert lines.getvalue() == ""


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "iam_password",
        "Authorization",
        "proxy-authorization",
        "X-Auth-Token",
        "security_token",
        "X-Subject-Token",
        "secret_key",
        "client_secret",
        "api_key",
        "database_url",
        "redis_url",
        "Set-Cookie",
    ],
)
def test_a_field_with_the_name_of_a_secret_is_masked(lines: io.StringIO, name: str) -> None:
    """However deep a field lies, its name is enough."""
    other = "not-known-as-a-secret"
    structlog.get_logger().info("x.done", **{name: other}, deep=[{"headers": ({name: other},)}])
    event = only_event(lines)

    assert (MASK, [{"headers": [{name: MASK}]}]) == (event[name], event["deep"])


@pytest.mark.parametrize("name", ["batch_key", "keys", "workspace", "release_package_id", "idempotency_key"])
def test_other_fields_are_shown(name: str) -> None:
    """Identifiers are what a log is read for."""
    assert {name: "value-1"} == mask_secrets(None, "", {name: "value-1"})


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("password=hunter2", "password=***"),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        (
            "Authorization: SDK-HMAC-SHA256 Access=AK, SignedHeaders=host, Signature=00ff\nHost: h",
            "Authorization: ***\nHost: h",
        ),
        ("{'X-Auth-Token': 'MII, abc', 'Host': 'h'}", "{'X-Auth-Token': ***, 'Host': 'h'}"),
        ('{"secret_key": "a\\"b", "ak": "c"}', '{"secret_key": ***, "ak": "c"}'),
        ('TokenCredentials(user="u", password="never closed', 'TokenCredentials(user="u", password=***'),
        ("postgresql://u:p%40ss@host/db?x=1", "postgresql://u:***@host/db?x=1"),
        ("redis://:pass:word@host", "redis://:***@host"),
        ("http://host:8080/path@x", "http://host:8080/path@x"),
        ("the token has expired", "the token has expired"),
        ("no secret here; 3 passwords", "no secret here; 3 passwords"),
    ],
)
def test_what_a_text_calls_a_secret_is_masked(text: str, masked: str) -> None:
    """A header, a URL, a repr or an assignment in a text gives its secret away no more than a field does."""
    assert masked == mask_text(text)


@pytest.mark.parametrize("form", ["lines", "console"])
def test_no_secret_is_in_a_traceback(form: str, request: pytest.FixtureRequest) -> None:
    """Neither the text of an exception nor the lines of its traceback show a secret."""
    stream: io.StringIO = request.getfixturevalue(form)
    api_key = new_api_key()
    try:
        raise_with(f"cannot connect to {DATABASE_URL} with p@ss-w0rd, {AWKWARD_SECRET}, token={api_key}")
    except ValueError:
        structlog.get_logger().exception("look.failed", reason=f"{AWKWARD_SECRET} {api_key}")
    output = stream.getvalue()

    assert "cannot connect" in output
    assert "raise_with" in output
    for spelling in ("p%40ss", "p@ss", "wörd", "w\\u00f6rd", api_key):
        assert spelling not in output


@given(secret=st.text(min_size=6, alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_known_secret_is_masked_however_it_is_spelled(secret: str) -> None:
    """A known value is found raw, in JSON (of either kind) and in a repr."""
    mask = ValueMask([secret])
    for spelled in (secret, json.dumps([secret]), json.dumps([secret], ensure_ascii=False), repr([secret])):
        assert MASK in mask(None, "", f"<{spelled}>")


def test_a_short_secret_does_not_mask_ordinary_words(lines: io.StringIO) -> None:
    """A value of a few letters would make the log unreadable."""
    structlog.get_logger().info("x.done", detail="a short word")

    assert only_event(lines)["detail"] == "a short word"


FORGED = 'x\r\n{"event":"batch.released"}\x1b[2J\u2028\x85'


def test_no_text_splits_a_line_of_json(lines: io.StringIO) -> None:
    """Line breaks in names, values and messages are escaped, so nobody can write lines of ours."""
    structlog.get_logger().info(FORGED, **{FORGED: FORGED})
    logging.getLogger("aiohttp.server").error("Bad request: %s", FORGED)

    assert lines.getvalue().count("\n") == 2
    assert lines.getvalue().count('"level"') == 2


def test_no_text_splits_a_line_of_a_console_or_moves_its_cursor(console: io.StringIO) -> None:
    """On a terminal, control characters of strangers are shown, not obeyed."""
    structlog.get_logger().info(FORGED, **{"detail": FORGED, FORGED: [FORGED]})
    logging.getLogger("aiohttp.server").error("Bad request: %s", FORGED)
    output = console.getvalue()

    assert len(output.splitlines()) == 2
    assert "\x1b[2J" not in output


@pytest.mark.parametrize("form", ["lines", "console"])
@pytest.mark.parametrize(
    "value",
    [
        b"\xff\x00",
        os.fsdecode(b"\xff"),
        2**70,
        float("nan"),
        WithoutRepr(),
        {WithoutRepr(): 1, 2: WithoutRepr(), (1, 2): None},
        {"a": [{1, 2}, datetime(2026, 1, 1, tzinfo=UTC), ValueError("x\n")]},
        [[[[[[[[[[[[["deep"]]]]]]]]]]]]],
    ],
    ids=lambda value: type(value).__name__,
)
def test_odd_objects_do_not_break_a_line(form: str, value: object, request: pytest.FixtureRequest) -> None:
    """Whatever is logged, the event is written, in one line."""
    stream: io.StringIO = request.getfixturevalue(form)
    structlog.get_logger().info("x.done", value=value)
    logging.getLogger("library").warning("value: %r", value)

    assert stream.getvalue().count("\n") == 2
    assert "x.done" in stream.getvalue()


def test_a_circle_does_not_break_a_line(lines: io.StringIO) -> None:
    """An object that holds itself is cut off."""
    circle: list[object] = []
    circle.append(circle)
    structlog.get_logger().info("x.done", circle=circle)

    assert only_event(lines)["event"] == "x.done"


@pytest.mark.parametrize("form", ["lines", "console"])
def test_arguments_that_do_not_fit_are_shown(
    form: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    """A library's mistake in a message is a line, not a traceback on standard error."""
    stream: io.StringIO = request.getfixturevalue(form)
    logging.getLogger("library").warning("%d items", "x")

    assert "%d items" in stream.getvalue()
    assert stream.getvalue().count("\n") == 1
    assert capsys.readouterr() == ("", "")


@given(
    event=st.text(),
    fields=st.dictionaries(
        st.text().filter(lambda name: name not in {"event", "level", "at", "exc_info", "stack_info"}),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
            lambda children: st.lists(children) | st.dictionaries(st.text() | st.integers(), children),
        ),
    ),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_event_is_one_line_of_json(lines: io.StringIO, event: str, fields: dict[str, object]) -> None:
    """There is nothing that cannot be logged."""
    lines.seek(0)
    lines.truncate()
    structlog.get_logger().warning(event, fields=fields)
    logging.getLogger("library").warning("%s", event)
    written = lines.getvalue()

    assert written.endswith("\n")
    assert written.count("\n") == 2
    assert [json.loads(line)["level"] for line in written.split("\n")[:2]] == ["warning"] * 2


@pytest.mark.parametrize(
    "text",
    [
        "a" * 500_000 + ":",
        'password="' * 50_000,
        "token:" + " " * 500_000,
        "://a:" * 100_000,
        "rel_" * 100_000,
    ],
    ids=["word", "names", "space", "urls", "keys"],
)
def test_no_text_takes_long_to_mask(text: str) -> None:
    """A stranger's text of half a megabyte costs no more than a second of this process."""
    started = time.process_time()
    mask_text(text)

    assert time.process_time() - started < 1.0


def test_a_line_is_cheap(lines: io.StringIO) -> None:
    """A thousand lines cost well under a second: a batch writes two."""
    log = structlog.get_logger()
    started = time.process_time()
    for number in range(1_000):
        log.info("batch.released", batch_id=str(UUID(int=number)), workspace="w", items=100, duration_ms=1.5)

    assert lines.getvalue().count("\n") == 1_000
    assert time.process_time() - started < 0.5
