"""The command that hands release requests in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from service.commands.options import Exit
from service.commands.remote.body import SKELETON, body_of, read_json
from service.commands.remote.calling import Remote, patient_remote
from service.commands.remote.progress import exit_of, wait_for
from service.commands.remote.request_tables import show_request, submitted_table
from service.commands.remote.showing import show_json, show_rows
from service.core.errors import ConfigurationError
from service.core.model import Priority

_BODY_OPTIONS = (
    click.option("--project-id", help="The project; by default the service's."),
    click.option("--workspace", help="The workspace; by default the service's."),
    click.option("--apply-user-id", help="The applicant."),
    click.option(
        "--approver-id",
        "--approver-ids",
        "approver_ids",
        multiple=True,
        metavar="ID",
        help="Who may approve; repeatable, or several with commas.",
    ),
    click.option(
        "--item",
        "--items",
        "--pending-item-list",
        "pending_item_list",
        multiple=True,
        metavar="ID",
        help="A pending item; repeatable, or several with commas.",
    ),
    click.option("--package-name", help="A batch of its own under this name."),
    click.option("--not-before", metavar="TIME", help="Send nothing before, as 2026-05-13T03:21:00Z."),
    click.option("--deadline", metavar="TIME", help="Let expire what still waits then."),
    click.option(
        "--priority",
        type=click.Choice([priority.value for priority in Priority]),
        help="Order among the items of a batch key; normal by default.",
    ),
    click.option("--label", "--labels", "labels", multiple=True, metavar="NAME=VALUE", help="Repeatable."),
    click.option("--note", help="For people."),
)
_HOW_OPTIONS = (
    click.option(
        "--json", "source", metavar="@FILE|-", help="The body as JSON; options come over its members."
    ),
    click.option(
        "--skeleton", "is_skeleton", is_flag=True, help="Print a body to fill in, and send nothing."
    ),
    click.option("--dry-run", "is_dry_run", is_flag=True, help="Print the body, and send nothing."),
    click.option("--idempotency-key", metavar="KEY", help="Your name for it: twice is as once."),
    click.option("--wait", "is_waiting", is_flag=True, help="Wait until it is done; exit by the result."),
    click.option("--timeout", type=click.FloatRange(0), help="Seconds to wait, with --wait."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """What to do with a body."""

    source: str | None
    is_skeleton: bool
    is_dry_run: bool
    idempotency_key: str | None
    is_waiting: bool
    timeout: float | None


def _with_options(command: Any) -> Any:  # noqa: ANN401 - click decorates anything
    for option in reversed((*_BODY_OPTIONS, *_HOW_OPTIONS)):
        command = option(command)
    return command


@click.command()
@_with_options
@patient_remote
async def submit(remote: Remote, **options: Any) -> int:  # noqa: ANN401 - what click has parsed
    """Hand in a release request, of options, of JSON, or of both.

    With --wait, exit 0 if it is released, 1 if it ended otherwise, 3 if --timeout is over. JSON that is an array
    hands in several, each with an idempotency_key of its own if you like; exit 1 if one was refused.
    """
    how = How(**{name: options.pop(name) for name in How.__dataclass_fields__})
    document = {} if how.source is None else read_json(how.source)
    if how.is_skeleton:
        show_json(SKELETON)
        return Exit.OK
    if isinstance(document, list):
        return await _submit_many(remote, [body_of(one, options) for one in document], how)
    return await _submit_one(remote, body_of(document, options), how)


async def _submit_one(remote: Remote, body: dict[str, Any], how: How) -> int:
    if how.is_dry_run:
        show_json(body)
        return Exit.OK
    key = _key_of(how.idempotency_key, body.pop("idempotency_key", None))
    if "wait" in body:
        raise ConfigurationError("--json: expected no member wait, which no body has; --wait waits")
    request = await remote.client.submit(**body, idempotency_key=key)
    if how.is_waiting:
        request = await wait_for(remote.client, request.id, seconds=how.timeout, seen=request)
    show_request(request, remote.output)
    return exit_of(request) if how.is_waiting else Exit.OK


async def _submit_many(remote: Remote, bodies: Sequence[dict[str, Any]], how: How) -> int:
    if how.is_waiting or how.idempotency_key is not None:
        raise click.UsageError("--wait and --idempotency-key are for one request; --json has several")
    if how.is_dry_run:
        show_json(bodies)
        return Exit.OK
    submitted = await remote.client.submit_many(bodies)
    show_rows(submitted, submitted_table(submitted), remote.output)
    return Exit.FAILED if any(one.error for one in submitted) else Exit.OK


def _key_of(option: str | None, member: object) -> str | None:
    key = option or member
    if key is None or (isinstance(key, str) and key.isprintable()):
        return key
    raise ConfigurationError(f"--idempotency-key: expected printable text; given {key!r}")
