"""The commands about release requests, against a running service."""

import json
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.support.cli import Cli, Done, on_a_terminal
from tests.support.stack import Stack, body
from tests.support.waiting import eventually

ONE = ("submit", "--workspace", "ws-1", "--apply-user-id", "ann", "--approver-id", "bob")


def cli_of(stack: Stack, directory: Path) -> Cli:
    """Commands that know where the service of a stack is."""
    return Cli(directory, RELEASE_URL=stack.url)


async def test_a_request_that_is_waited_for_exits_by_its_result(stack: Stack, tmp_path: Path) -> None:
    """`submit --wait` and `wait` exit 0 for a release and 1 for any other end; progress is on standard error."""
    cli = cli_of(stack, tmp_path)
    await stack.emulator.put_faults({"rate_user": 0, "rate_api": 0, "poisoned_items": ["13"]})
    good = await cli.run(*ONE, "--item", "1", "--item", "2,3", "--label", "team=bi", "--wait", "-o", "json")
    bad = await cli.run(*ONE, "--item", "13", "--note", "unlucky", "--wait", "--timeout", "20")
    again = await cli.run("wait", good.json["id"], "--timeout", "5", "-o", "tsv")
    failed = await cli.run("status", bad.stdout.split()[1], "-o", "json")

    assert (good.code, good.json["state"], good.json["labels"]) == (0, "released", {"team": "bi"})
    assert [item["pending_item_id"] for item in good.json["items"]] == ["1", "2", "3"]
    assert good.stderr.splitlines()[-1] == f"{good.json['id']} released, 3 of 3 items done"
    assert bad.code == 1
    assert "DLF." in bad.stdout
    assert (failed.code, failed.json["state"], failed.json["note"]) == (0, "rejected", "unlucky")
    assert (again.code, [row["state"] for row in again.rows]) == (0, ["released"])


async def test_a_wait_whose_time_is_up_exits_three(quiet_stack: Stack, tmp_path: Path) -> None:
    """The request goes on, and the sentence says how to wait for longer."""
    cli = cli_of(quiet_stack, tmp_path)
    timed_out = await cli.run(*ONE, "--item", "1", "--wait", "--timeout", "0.3")
    (listed,) = (await cli.run("list", "--json")).json
    again = await cli.run("wait", listed["id"], "--timeout", "0")

    assert (timed_out.code, timed_out.stdout) == (3, "")
    assert timed_out.stderr.splitlines()[-1] == (
        f"batch-release: {listed['id']} is accepted after 0.3 s, and goes on:"
        f" `batch-release wait {listed['id']}` waits for longer"
    )
    assert again.code == 3


async def test_a_body_may_come_as_json(quiet_stack: Stack, tmp_path: Path) -> None:
    """Of a file or of standard input; options come over its members, and the skeleton is a body to fill in."""
    cli = cli_of(quiet_stack, tmp_path)
    skeleton = (await cli.run("submit", "--skeleton")).json
    file = tmp_path / "body.json"
    file.write_text(json.dumps(skeleton | body("1") | {"idempotency_key": "order-1"}))
    dry = await cli.run("submit", "--json", f"@{file}", "--item", "7,8", "--dry-run")
    first = await cli.run("submit", "--json", f"@{file}", "--item", "7,8", "-o", "json")
    again = await cli.run("submit", "--json", f"@{file}", "--item", "7", "--item", "8", "-o", "json")
    other = await cli.run(
        "submit", "--json", f"@{file}", "--idempotency-key", "order-2", "--item", "9", "-o", "json"
    )

    assert dry.json["pending_item_list"] == ["7", "8"]
    assert (first.code, first.json["id"]) == (0, again.json["id"])
    assert [item["pending_item_id"] for item in first.json["items"]] == ["7", "8"]
    assert (other.code, other.json["id"] == first.json["id"]) == (0, False)


async def test_many_bodies_are_handed_in_at_once(quiet_stack: Stack, tmp_path: Path) -> None:
    """A row for each in order; a bad one does not keep the others out, and the exit code tells of it."""
    cli = cli_of(quiet_stack, tmp_path)
    bodies = json.dumps([{**body("1"), "idempotency_key": "k"}, {"workspace": "w"}, body("2")])
    mixed = await cli.run("submit", "--json", bodies, "-o", "tsv")
    again = await cli.run("submit", "--json", json.dumps([json.loads(bodies)[0]]), "-o", "json")

    assert mixed.code == 1
    assert [row["status"] for row in mixed.rows] == ["202", "422", "202"]
    assert "/apply_user_id: Expected this member" in mixed.rows[1]["error"]
    assert (again.code, again.json[0]["replayed"]) == (0, True)


async def test_lists_have_all_filters_and_say_where_there_is_more(quiet_stack: Stack, tmp_path: Path) -> None:
    """Each filter narrows the list; a list that was cut says so on standard error."""
    cli = cli_of(quiet_stack, tmp_path)
    await quiet_stack.submit(body("1", labels={"team": "bi", "env": "test"}), **{"Idempotency-Key": "k"})
    for number in ("2", "3"):
        await quiet_stack.submit(body(number, workspace="ws-2"))
    narrow = (
        *(
            "--workspace",
            "ws-1",
            "--state",
            "accepted",
            "--item",
            "1",
            "--label",
            "team=bi",
            "--label",
            "env=test",
        ),
        *("--idempotency-key", "k", "--created-after", "2020-01-01T00:00:00Z", "--project-id"),
        quiet_stack.environment["RELEASE_PROJECT_ID"],
    )
    found = await cli.run("list", *narrow, "-o", "tsv")
    cut = await cli.run("list", "--limit", "2", "-o", "tsv")
    everything = await cli.run("list", "--limit", "0")
    nothing = await cli.run("list", "--error-code", "DLF.3051", "--created-before", "2020-01-01T00:00:00Z")

    assert [row["items"] for row in found.rows] == ["1"]
    assert (len(cut.rows), cut.stderr) == (2, "There are more than 2: --limit 0 shows all.\n")
    assert (len(everything.stdout.splitlines()), everything.stderr) == (4, "")
    assert everything.stdout.splitlines()[1].endswith(" s ago")
    assert nothing.stdout == "id  state  waits_for  workspace  items  released  error  created\n"


async def test_requests_are_cancelled_and_retried(quiet_stack: Stack, tmp_path: Path) -> None:
    """What cannot be is one sentence and exit 1; the timeline tells who and why."""
    cli = cli_of(quiet_stack, tmp_path)
    request = await quiet_stack.submit(body("1"))
    cancelled = await cli.run("cancel", request["id"], "--reason", "ordered twice", "-o", "json")
    refused = await cli.run("retry", request["id"])
    timeline = await cli.run("events", request["id"], "-o", "tsv")

    assert (cancelled.code, cancelled.json["state"]) == (0, "cancelled")
    assert (refused.code, refused.stdout) == (1, "")
    assert refused.stderr.startswith("batch-release: not-retryable: expected a failed or rejected request ")
    assert refused.stderr.endswith("; `batch-release status ID` shows how it stands\n")
    assert [row["event"] for row in timeline.rows] == ["request.accepted", "request.cancelled"]


async def test_an_interrupt_ends_a_wait(quiet_stack: Stack, tmp_path: Path) -> None:
    """Ctrl-C leaves the request alone, and no traceback."""
    cli = cli_of(quiet_stack, tmp_path)
    with cli.start(*ONE, "--item", "1", "--wait") as process:
        await process.wait_for_line("accepted, 0 of 1 items done")
        process.send(signal.SIGINT)
        code = await process.wait()

        assert code == 130
        assert "Traceback" not in process.stderr


async def test_progress_on_a_terminal_is_one_line(stack: Stack) -> None:
    """The line is overwritten and taken away; colours are for terminals, and for those who want them."""
    command = (*ONE, "--item", "1", "--wait")
    plain = {"RELEASE_URL": stack.url, "NO_COLOR": "1"}
    seen = await on_a_terminal(command, environment={"RELEASE_URL": stack.url})
    colourless = await on_a_terminal((*ONE, "--item", "2", "--wait"), environment=plain)
    progress, _, result = seen.rpartition("\r\x1b[2K")

    assert "\n" not in progress
    assert progress.count("\r\x1b[2K") >= 1
    assert "released, 1 of 1 items done" in progress
    assert "state      \x1b[32mreleased\x1b[0m" in result
    assert "\x1b[3" not in colourless


REFUSALS: dict[str, tuple[tuple[str, ...], int, str]] = {
    "address": (("list", "--url", "nowhere"), 2, "--url or RELEASE_URL: expected an address such as http"),
    "nobody": (
        ("list", "--url", "http://127.0.0.1:9"),
        1,
        "does not answer: connection refused; start it, or name",
    ),
    "option": (("list", "--state", "lost"), 2, "Invalid value for '--state'"),
    "time": (("list", "--created-after", "yesterday"), 2, 'such as 2026-05-13T03:21:00Z; given "yesterday"'),
    "label": (("list", "--label", "team"), 2, "--label: expected NAME=VALUE; given 'team'"),
    "id": (("status", "../livez"), 1, "not-found: no resource of this id"),
    "body": (("submit", "--item", "a b"), 2, "/apply_user_id: expected this member"),
    "file": (("submit", "--json", "@nothing.json"), 2, "nothing.json: No such file or directory"),
    "json": (("submit", "--json", "{"), 2, "--json: expected JSON, @FILE, or - for standard input"),
    "shape": (("submit", "--json", "7"), 2, "--json: expected an object; given int"),
    "many": (("submit", "--json", "[]", "--wait"), 2, "are for one request; --json has several"),
    "number": (
        ("settings", "p/w", "--rate", "much"),
        2,
        "--rate: expected a number, or default; given 'much'",
    ),
    "place": (("pause", "a/b/c"), 2, "WS: expected PROJECT/WORKSPACE or WORKSPACE; given 'a/b/c'"),
    "project": (("pause", "w"), 2, "or RELEASE_PROJECT_ID to be set; no workspace of this name"),
    "filter": (("operations", "cancel"), 2, "expected at least one filter"),
    "expect": (
        ("operations", "retry", "--state", "failed", "--execute"),
        2,
        "expected --expect with the count",
    ),
    "batch": (("batch", "01a20c84-4d86-70f7-961a-3b09c213ee81"), 1, "not-found"),
}


async def test_what_is_refused_is_one_sentence_and_an_exit_code(quiet_stack: Stack, tmp_path: Path) -> None:
    """Usage and configuration exit 2, refusals 1; nothing is printed on standard output, and there is no traceback."""
    cli = cli_of(quiet_stack, tmp_path)
    done = {name: await cli.run(*command) for name, (command, _, _) in REFUSALS.items()}

    assert {name: one.code for name, one in done.items()} == {
        name: code for name, (_, code, _) in REFUSALS.items()
    }
    assert [(n, one.stderr) for n, one in done.items() if REFUSALS[n][2] not in one.stderr] == []
    assert [name for name, one in done.items() if one.stdout or "Traceback" in one.stderr] == []


async def test_a_key_that_is_missing_wrong_or_too_weak_is_told_apart(
    tmp_path: Path, stack_with: Callable[..., Any]
) -> None:
    """Without a key, with one that is none, with one that lacks the scope; a file may hold it."""
    async with stack_with(RELEASE_AUTH="keys") as stack:
        await stack.start_api()
        cli = Cli(tmp_path, **stack.environment, RELEASE_URL=stack.url)
        created = await cli.run(
            *("keys", "create", "--name", "n", "--scope", "read", "--workspace", "*/*", "-o", "json")
        )
        (tmp_path / "key").write_text(created.json["key"] + "\n")
        missing = await cli.run("list")
        wrong = await cli.run("list", RELEASE_API_KEY="rel_wrong")
        weak = await cli.run(*ONE, "--item", "1", RELEASE_API_KEY=created.json["key"])
        good = await cli.run("list", RELEASE_API_KEY_FILE=str(tmp_path / "key"))
        option = await cli.run("list", "--api-key", created.json["key"])

    assert (missing.code, wrong.code, weak.code, good.code, option.code) == (2, 2, 1, 0, 0)
    assert missing.stderr.startswith("batch-release: the service asks for an API key; set RELEASE_API_KEY")
    assert wrong.stderr.startswith(
        "batch-release: the API key is not known, or has ended; set RELEASE_API_KEY"
    )
    assert weak.stderr == (
        "batch-release: forbidden: expected a key with the scope submit; `batch-release keys create` makes one\n"
    )


async def until(check: Callable[[], Awaitable[Done]], state: str) -> Done:
    """Run a command until it shows this state."""

    async def shown() -> Done | None:
        done = await check()
        return done if done.json["state"] == state else None

    found = await eventually(shown, within=20, every=0.2, what=state)
    assert found is not None
    return found


async def test_operators_act_on_workspaces(stack: Stack, tmp_path: Path) -> None:
    """Paused with a reason, set, flushed and resumed, by the full name, or the short one where the project is known."""
    project = stack.environment["RELEASE_PROJECT_ID"]
    cli = cli_of(stack, tmp_path)
    paused = await cli.run("pause", f"{project}/ws-1", "--reason", "upgrade", "-o", "json")
    changed = await cli.run(
        *("settings", "ws-1", "--max-items", "7", "--rate", "2.5", "--reason", "few", "-o", "json"),
        RELEASE_PROJECT_ID=project,
    )
    accepted = await cli.run(*ONE, "--item", "1", "-o", "json")
    shown = await cli.run("workspaces", "-o", "tsv")
    back = await cli.run("settings", "ws-1", "--rate", "default", "-o", "json")
    table = await cli.run("settings", "ws-1")
    flushed = await cli.run("flush", "ws-1", "-o", "tsv")
    resumed = await cli.run("resume", "ws-1", "-o", "json")
    await until(lambda: cli.run("status", accepted.json["id"], "-o", "json"), "released")
    trail = await cli.run("audit-log", "--target", f"{project}/ws-1", "-o", "tsv")
    audit = await cli.run("audit", "--url", stack.url)

    assert (paused.json["paused"], paused.json["paused_reason"], resumed.json["paused"]) == (
        True,
        "upgrade",
        False,
    )
    assert (changed.json["settings"]["max_items"], changed.json["settings"]["rate"]) == (7, 2.5)
    assert (back.json["settings"]["max_items"], back.json["settings"]["rate"]) == (7, 0.0)
    assert [(row["workspace"], row["paused"], row["held_by"]) for row in shown.rows] == [
        (f"{project}/ws-1", "true", "paused")
    ]
    assert {"max items     7", "paused        yes", "paused for    upgrade"} <= set(table.stdout.splitlines())
    assert flushed.code == 0
    assert [(row["action"], row["reason"]) for row in trail.rows][-2:] == [
        ("workspace.settings_changed", "few"),
        ("workspace.paused", "upgrade"),
    ]
    assert (audit.code, audit.stdout.splitlines()[-1]) == (0, "clean")


async def test_many_are_cancelled_after_a_look(stack: Stack, tmp_path: Path) -> None:
    """Without --execute nothing happens; with it, and the count that was seen, workers act on what matches."""
    cli = cli_of(stack, tmp_path)
    await stack.operate("ws-1", "pause")
    ids = [(await stack.submit(body(str(number))))["id"] for number in range(3)]
    many = ("operations", "cancel", "--workspace", "ws-1")
    looked = await cli.run(*many, "-o", "json")
    wrong = await cli.run(*many, "--execute", "--expect", "2", "--reason", "r")
    before = [(await stack.show(one))["state"] for one in ids]
    done = await cli.run(*many, "--execute", "--expect", "3", "--reason", "r", "--wait", "-o", "json")
    seen = await cli.run("operations", "show", done.json["id"], "-o", "tsv")
    ended = await cli.run("operations", "abort", done.json["id"])

    assert (looked.json["count"], len(looked.json["sample"])) == (3, 3)
    assert (wrong.code, before) == (1, ["accepted"] * 3)
    assert wrong.stderr.endswith("; look again without --execute\n")
    assert (done.code, done.json["state"], done.json["succeeded"]) == (0, "done", 3)
    assert [(row["state"], row["total"]) for row in seen.rows] == [("done", "3")]
    assert (ended.code, "not-running" in ended.stderr) == (1, True)
    assert [(await stack.show(one))["state"] for one in ids] == ["cancelled"] * 3


async def test_an_operator_decides_about_a_doubt(stack_with: Callable[..., Any], tmp_path: Path) -> None:
    """What waits for a decision is listed, and the decision is written with its reason."""
    times = {
        "RELEASE_SETTLE_SECONDS": "0.5",
        "RELEASE_RECONCILE_SECONDS": "1",
        "RELEASE_RECHECK_SECONDS": "0.5",
    }
    async with stack_with(RELEASE_IN_DOUBT="park", **times) as stack:
        await stack.start_api()
        await stack.start_worker()
        cli = cli_of(stack, tmp_path)
        await stack.emulator.patch_faults({"rules": [{"fault": "drop_before", "count": 1}]})
        request = await stack.submit(body("1"))
        await stack.wait_for(request["id"], "needs_attention", within=40)
        (listed,) = (await cli.run("attention", "-o", "tsv")).rows
        table = await cli.run("attention")
        shown = await cli.run("batch", listed["batch"])
        bad = await cli.run("resolve", listed["batch"], "--decision", "released", "--reason", "seen")
        resolved = await cli.run(
            *("resolve", listed["batch"], "--decision", "rejected", "--reason", "not there", "-o", "json")
        )
        batches = await cli.run("batches", "--workspace", "ws-1", "--state", "rejected", "-o", "tsv")
        nothing = await cli.run("attention", "-o", "json")

    assert listed["batch"] in table.stdout
    assert "needs_attention" in shown.stdout
    assert (bad.code, "/release_package_id" in bad.stderr) == (2, True)
    assert (resolved.code, resolved.json["state"]) == (0, "rejected")
    assert [row["id"] for row in batches.rows] == [listed["batch"]]
    assert nothing.json == []
