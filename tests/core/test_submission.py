"""The rules of a release request's body, and the words in which each is refused."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.core.json_input import Malformed, read_json
from service.core.model import Priority
from service.core.moments import read_moment
from service.core.submission import (
    Defaults,
    FieldError,
    Invalid,
    ReleaseRequestBody,
    Submission,
    read_submission,
)

NOW = datetime(2026, 5, 13, 3, 21, tzinfo=UTC)
DEFAULTS = Defaults(project_id="p", workspace="w")
TIME_WORDS = "Expected a time of RFC 3339 such as 2026-05-13T03:21:00Z; given "
GOOD: dict[str, Any] = {"apply_user_id": "u", "approver_ids": ["a", "b"], "pending_item_list": ["26", "27"]}


def read_raw(raw: bytes, *, defaults: Defaults = DEFAULTS) -> Submission | Invalid | Malformed:
    parsed = read_json(raw)
    if isinstance(parsed, Malformed):
        return parsed
    return read_submission(parsed, raw, defaults=defaults, now=NOW)


def read(body: object, *, defaults: Defaults = DEFAULTS) -> Submission | Invalid:
    outcome = read_raw(json.dumps(body).encode(), defaults=defaults)
    assert not isinstance(outcome, Malformed)
    return outcome


def accepted(**members: object) -> Submission:
    outcome = read({**GOOD, **members})
    assert isinstance(outcome, Submission), outcome
    return outcome


def refused(body: object, *, defaults: Defaults = DEFAULTS) -> list[tuple[str, str, str]]:
    outcome = read(body, defaults=defaults)
    assert isinstance(outcome, Invalid), outcome
    return [(error.pointer, error.code, error.detail) for error in outcome.errors]


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in GOOD.items() if key != name}


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def test_the_smallest_body_is_completed_with_the_defaults() -> None:
    """Applicant, approvers and items are enough; the deployment knows the rest."""
    submission = accepted()

    assert (
        submission.key.project_id,
        submission.key.workspace,
        submission.key.apply_user_id,
        submission.key.approver_ids,
        submission.key.package_name,
    ) == ("p", "w", "u", ("a", "b"), None)
    assert (
        submission.pending_item_ids,
        submission.priority,
        submission.not_before,
        submission.deadline,
        submission.labels,
        submission.note,
    ) == (("26", "27"), Priority.NORMAL, None, None, {}, None)


def test_a_full_body_is_taken_as_it_is() -> None:
    """Every member of the contract has its place."""
    submission = accepted(
        project_id="p2",
        workspace="w2",
        approver_ids=["b", "a"],
        package_name="春 release",
        not_before="2026-05-13T06:00:00+02:00",
        deadline="2026-05-13T05:00:00.5Z",
        priority="high",
        labels={"team": "bi", "a/b.c-d_e": ""},
        note="two\nlines",
    )

    assert (
        submission.key.project_id,
        submission.key.workspace,
        submission.key.package_name,
    ) == ("p2", "w2", "春 release")
    assert (submission.approver_ids, submission.key.approver_ids) == (("b", "a"), ("a", "b"))
    assert datetime(2026, 5, 13, 4, tzinfo=UTC) == submission.not_before
    assert datetime(2026, 5, 13, 5, 0, 0, 500_000, tzinfo=UTC) == submission.deadline
    assert (
        submission.priority,
        submission.labels,
        submission.note,
    ) == (Priority.HIGH, {"team": "bi", "a/b.c-d_e": ""}, "two\nlines")


def test_members_that_are_null_are_as_good_as_left_out() -> None:
    """The body of the contract, which writes null for what is not given, is valid."""
    nulls = dict.fromkeys(["project_id", "workspace", "package_name", "not_before", "deadline", "note"], None)

    assert accepted().digest == accepted(**nulls).digest


@pytest.mark.parametrize(
    ("members", "pointer", "code", "detail"),
    [
        ({"apply_user_id": 1}, "/apply_user_id", "string-type", "Expected a string; given 1."),
        ({"apply_user_id": None}, "/apply_user_id", "string-type", "Expected a string; given null."),
        (
            {"apply_user_id": "a b"},
            "/apply_user_id",
            "string-pattern-mismatch",
            'Expected 1 to 64 of the characters A-Za-z0-9_.:-; given "a b".',
        ),
        (
            {"workspace": ""},
            "/workspace",
            "string-pattern-mismatch",
            'Expected 1 to 64 of the characters A-Za-z0-9_.:-; given "".',
        ),
        (
            {"project_id": "p\n"},
            "/project_id",
            "string-pattern-mismatch",
            'Expected 1 to 64 of the characters A-Za-z0-9_.:-; given "p\\n".',
        ),
        (
            {"pending_item_list": ["26", "x" * 65]},
            "/pending_item_list/1",
            "string-pattern-mismatch",
            f'Expected 1 to 64 of the characters A-Za-z0-9_.:-; given "{"x" * 65}".',
        ),
        ({"pending_item_list": [26]}, "/pending_item_list/0", "string-type", "Expected a string; given 26."),
        ({"pending_item_list": "26"}, "/pending_item_list", "list-type", 'Expected an array; given "26".'),
        ({"pending_item_list": []}, "/pending_item_list", "too-short", "Expected at least 1 entry; given 0."),
        (
            {"pending_item_list": numbers(1_001)},
            "/pending_item_list",
            "too-long",
            "Expected at most 1000 entries; given 1001.",
        ),
        (
            {"pending_item_list": numbers(10_000)},
            "/pending_item_list",
            "too-long",
            "Expected at most 1000 entries; given 10000.",
        ),
        (
            {"pending_item_list": ["1", "2", "1"]},
            "/pending_item_list",
            "duplicate-entry",
            'Expected each entry once; given "1" twice.',
        ),
        ({"approver_ids": []}, "/approver_ids", "too-short", "Expected at least 1 entry; given 0."),
        (
            {"approver_ids": ["a", "a"]},
            "/approver_ids",
            "duplicate-entry",
            'Expected each entry once; given "a" twice.',
        ),
        (
            {"approver_ids": numbers(101)},
            "/approver_ids",
            "too-long",
            "Expected at most 100 entries; given 101.",
        ),
        (
            {"approver_ids": ["a", "u"]},
            "/approver_ids/1",
            "self-approval",
            'Expected approvers other than the applicant; given "u".',
        ),
        (
            {"package_name": ""},
            "/package_name",
            "string-too-short",
            "Expected at least 1 character; given 0.",
        ),
        (
            {"package_name": "x" * 129},
            "/package_name",
            "string-too-long",
            "Expected at most 128 characters; given 129.",
        ),
        (
            {"package_name": "a\x1b[2Jb"},
            "/package_name",
            "control-character",
            'Expected text without control characters; given "a\\u001b[2Jb".',
        ),
        ({"deadline": 1_800_000_000}, "/deadline", "moment", f"{TIME_WORDS}1800000000."),
        ({"deadline": "1800000000"}, "/deadline", "moment", f'{TIME_WORDS}"1800000000".'),
        ({"not_before": "2026-06-01"}, "/not_before", "moment", f'{TIME_WORDS}"2026-06-01".'),
        (
            {"deadline": "2026-06-01T00:00:00"},
            "/deadline",
            "moment",
            f'{TIME_WORDS}"2026-06-01T00:00:00".',
        ),
        (
            {"deadline": "9999-12-31T23:59:59-01:00"},
            "/deadline",
            "moment",
            f'{TIME_WORDS}"9999-12-31T23:59:59-01:00".',
        ),
        (
            {"deadline": "2026-05-13T03:21:00Z"},
            "/deadline",
            "deadline-too-early",
            "Expected a time after 2026-05-13T03:21:00+00:00; given 2026-05-13T03:21:00+00:00.",
        ),
        (
            {"not_before": "2026-06-01T00:00:00Z", "deadline": "2026-06-01T00:00:00Z"},
            "/deadline",
            "deadline-too-early",
            "Expected a time after 2026-06-01T00:00:00+00:00; given 2026-06-01T00:00:00+00:00.",
        ),
        (
            {"priority": "urgent"},
            "/priority",
            "enum",
            "Expected one of 'high', 'normal' or 'low'; given \"urgent\".",
        ),
        ({"priority": 1}, "/priority", "enum", "Expected one of 'high', 'normal' or 'low'; given 1."),
        ({"labels": []}, "/labels", "dict-type", "Expected an object; given []."),
        ({"labels": {"a": 1}}, "/labels/a", "string-type", "Expected a string; given 1."),
        (
            {"labels": {"": "x"}},
            "/labels/",
            "string-pattern-mismatch",
            'Expected 1 to 63 of the characters A-Za-z0-9_./-; given "".',
        ),
        (
            {"labels": {"a~/b": "x"}},
            "/labels/a~0~1b",
            "string-pattern-mismatch",
            'Expected 1 to 63 of the characters A-Za-z0-9_./-; given "a~/b".',
        ),
        (
            {"labels": {"a": "x" * 256}},
            "/labels/a",
            "string-too-long",
            "Expected at most 255 characters; given 256.",
        ),
        (
            {"labels": dict.fromkeys(numbers(33), "")},
            "/labels",
            "too-many-labels",
            "Expected at most 32 entries; given 33.",
        ),
        ({"note": "x" * 1_001}, "/note", "string-too-long", "Expected at most 1000 characters; given 1001."),
        ({"note": ["x"]}, "/note", "string-type", 'Expected a string; given ["x"].'),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_each_rule_has_its_words(members: dict[str, object], pointer: str, code: str, detail: str) -> None:
    """A body that breaks one rule is told where, which, what was expected and what was given."""
    assert [(pointer, code, detail)] == refused({**GOOD, **members})


@pytest.mark.parametrize("name", ["apply_user_id", "approver_ids", "pending_item_list"])
def test_a_member_that_is_missing_is_named(name: str) -> None:
    """What has no default must be there."""
    assert [(f"/{name}", "missing", "Expected this member; it is missing.")] == refused(without(name))


@pytest.mark.parametrize("name", ["project_id", "workspace"])
@pytest.mark.parametrize("members", [{}, {"project_id": None, "workspace": None}])
def test_a_deployment_without_defaults_wants_project_and_workspace(
    name: str, members: dict[str, object]
) -> None:
    """Where the deployment has no default, the body must name both."""
    detail = "Expected this member, since this deployment has no default; it is missing."

    assert (f"/{name}", "missing", detail) in refused({**GOOD, **members}, defaults=Defaults())


def test_an_unknown_member_is_told_the_known_ones() -> None:
    """A slip in a member's name is never ignored."""
    known = ", ".join(ReleaseRequestBody.model_fields)
    detail = f"Expected only the members {known}; given dead\\u202eline."

    assert [("/dead\u202eline", "extra-forbidden", detail)] == refused({**GOOD, "dead\u202eline": 1})


@pytest.mark.parametrize("body", [[], "x", 1, None, True, [GOOD]])
def test_anything_but_an_object_is_refused(body: object) -> None:
    """A body is an object, whatever else JSON has."""
    ((pointer, code, detail),) = refused(body)

    assert (pointer, code) == ("", "model-type")
    assert detail.startswith("Expected an object; given ")


def test_everything_wrong_is_said_at_once() -> None:
    """A caller corrects a body once, not once a rule."""
    body = {
        "workspace": "a b",
        "apply_user_id": "u",
        "approver_ids": ["u", 7],
        "pending_item_list": ["1", "2 ", ""],
        "deadline": "2020-01-01T00:00:00Z",
        "labels": {"ok": "", "n t": 5},
        "extra": 1,
    }
    pointers = [pointer for pointer, _, _ in refused(body, defaults=Defaults(workspace="w"))]

    assert sorted(pointers) == [
        "/approver_ids/0",
        "/approver_ids/1",
        "/deadline",
        "/extra",
        "/labels/n t",
        "/labels/n t",
        "/pending_item_list/1",
        "/pending_item_list/2",
        "/project_id",
        "/workspace",
    ]


def test_a_deployment_may_allow_self_approval() -> None:
    """Where the deployment says so, the applicant may be an approver."""
    defaults = Defaults(project_id="p", workspace="w", is_self_approval_allowed=True)

    assert isinstance(read({**GOOD, "approver_ids": ["u"]}, defaults=defaults), Submission)


@pytest.mark.parametrize("count", [1, 100, 1_000])
def test_up_to_a_thousand_items_are_taken(count: int) -> None:
    """A request may hold more than a batch."""
    assert count == len(accepted(pending_item_list=numbers(count)).pending_item_ids)


def test_the_longest_of_everything_is_taken() -> None:
    """Each limit is the last value that is good."""
    submission = accepted(
        apply_user_id="u" * 64,
        approver_ids=numbers(100),
        package_name="x" * 128,
        labels={f"{number:063}": "x" * 255 for number in range(32)},
        note="x" * 1_000,
        deadline=(NOW + timedelta(microseconds=1)).isoformat(),
    )

    assert len(submission.labels) == 32


def test_a_long_value_is_cut() -> None:
    """An answer does not repeat a megabyte to its sender."""
    ((_, _, detail),) = refused({**GOOD, "apply_user_id": "x " * 100_000})

    assert len(detail) < 200
    assert detail.endswith("….")


@pytest.mark.parametrize(
    "members",
    [
        {"approver_ids": ["b", "a"]},
        {"pending_item_list": ["27", "26"]},
        {"pending_item_list": ["26"]},
        {"pending_item_list": ["2627"]},
        {"apply_user_id": "u2"},
        {"workspace": "w2"},
        {"project_id": "p2"},
        {"package_name": "n"},
        {"not_before": "2026-06-01T00:00:00Z"},
        {"deadline": "2026-06-01T00:00:00Z"},
        {"priority": "low"},
        {"labels": {"a": "b"}},
        {"note": ""},
    ],
    ids=str,
)
def test_another_request_has_another_digest(members: dict[str, object]) -> None:
    """A key that is used again for anything else is found out, an other order of a list included."""
    assert accepted().digest != accepted(**members).digest


def test_every_pair_of_different_requests_has_different_digests() -> None:
    """The same time as not_before and as deadline, the same text as note and as name, are not the same."""
    moment = "2026-06-01T00:00:00Z"
    digests = {
        accepted(**members).digest
        for members in ({"not_before": moment}, {"deadline": moment}, {"note": "x"}, {"package_name": "x"})
    }

    assert len(digests) == 4


@given(
    order=st.permutations([*GOOD, "labels", "not_before", "note"]),
    indent=st.none() | st.integers(0, 4),
    is_ascii=st.booleans(),
    not_before=st.sampled_from(
        ["2026-06-01T00:00:00Z", "2026-06-01T02:00:00.000+02:00", "2026-05-31t22:30:00-01:30"]
    ),
    labels=st.permutations([("team", "bi"), ("ü".encode().hex(), "ü"), ("c", "")]).map(dict),
)
def test_the_same_request_written_otherwise_has_the_same_digest(
    order: list[str], indent: int | None, is_ascii: bool, not_before: str, labels: dict[str, str]
) -> None:
    """White space, the order of members, escapes and the zone of a time make no other request."""
    body = {**GOOD, "labels": labels, "not_before": not_before, "note": "ü"}
    raw = json.dumps({name: body[name] for name in order}, indent=indent, ensure_ascii=is_ascii).encode()
    plain = {
        "labels": {"c": "", "c3bc": "ü", "team": "bi"},
        "not_before": "2026-06-01T00:00:00Z",
        "note": "ü",
    }
    submission = read_raw(raw)

    assert isinstance(submission, Submission)
    assert accepted(**plain).digest == submission.digest


@given(moment=st.datetimes(timezones=st.just(UTC)))
def test_a_time_is_read_as_python_writes_it(moment: datetime) -> None:
    """Every time that has a form is read back as the same time, in UTC."""
    assert moment == read_moment(moment.isoformat())


@given(text=st.text() | st.from_regex(r"\A[\d]{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)\Z"))
@example(text="0001-01-01T00:00:00+23:59")
@example(text="2026-02-30T00:00:00Z")
@example(text="2026-01-01T00:00:60Z")
def test_no_text_breaks_the_reading_of_times(text: str) -> None:
    """A text is a time in UTC or none."""
    moment = read_moment(text)

    assert moment is None or moment.tzinfo is UTC


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
fields = st.sampled_from([*ReleaseRequestBody.model_fields, "extra", "", "~/"])
bodies = st.dictionaries(
    fields,
    st.recursive(
        scalars | st.sampled_from(["u", "26", "2026-06-01T00:00:00Z"]),
        lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    ),
)


@given(raw=st.binary() | bodies.map(lambda body: json.dumps({**GOOD, **body}).encode()))
def test_no_bytes_whatever_raise(raw: bytes) -> None:
    """Whatever is sent is a submission or a list of sentences, each of one printable line."""
    match read_raw(raw):
        case Invalid(errors=errors):
            assert errors
            assert all(is_sentence(error) for error in errors)
        case Malformed(detail=detail):
            assert detail.startswith("Expected ")
        case submission:
            assert len(submission.digest) == 32


def is_sentence(error: FieldError) -> bool:
    return (
        error.detail.startswith("Expected ")
        and error.detail.endswith(".")
        and error.detail.isprintable()
        and ("; given " in error.detail or error.detail.endswith("; it is missing."))
        and (error.pointer == "" or error.pointer.startswith("/"))
    )


@pytest.mark.parametrize(
    "members",
    [
        {f"extra {number}": 0 for number in range(60_000)},
        {"labels": {f"l {number}": 1 for number in range(60_000)}},
        {"pending_item_list": [1] * 300_000},
        {"approver_ids": ["x y"] * 100_000},
        {"note": [[0] * 10] * 20_000},
    ],
    ids=["members", "labels", "items", "approvers", "note"],
)
def test_a_big_bad_body_is_refused_quickly(members: dict[str, object]) -> None:
    """A megabyte of mistakes costs neither seconds nor an endless answer."""
    raw = json.dumps({**GOOD, **members}).encode()
    started = time.process_time()
    outcome = read_raw(raw)

    assert isinstance(outcome, Invalid)
    assert time.process_time() - started < 5, "a check that grows with the square takes minutes"
    assert len(outcome.errors) <= 1_000


@pytest.mark.parametrize("name", ["project_id", "workspace"])
@pytest.mark.parametrize("dots", [".", ".."])
def test_dots_name_no_place(name: str, dots: str) -> None:
    """In the path of a call they would lead elsewhere."""
    ((pointer, code, _),) = refused({**GOOD, name: dots})

    assert (pointer, code) == (f"/{name}", "dots")
