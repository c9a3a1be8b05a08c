"""The commands about release requests that are there: look, wait, end, repeat."""

from typing import Any

import click

from service.commands.options import JSON_OUTPUT, Exit
from service.commands.remote.calling import Remote, patient_remote, remote
from service.commands.remote.filters import filter_options, filters_of
from service.commands.remote.paging import LIMIT, first_of
from service.commands.remote.progress import exit_of, wait_for
from service.commands.remote.request_tables import events_table, requests_table, show_request
from service.commands.remote.showing import show_rows

_LARGEST_PAGE = 200

REQUEST_ID = click.argument("request_id", metavar="ID")
REASON = click.option("--reason", help="Why, for the timeline and the audit trail.")


@click.command()
@REQUEST_ID
@remote
async def status(remote: Remote, request_id: str) -> int:
    """Show where a release request stands."""
    show_request(await remote.client.get(request_id), remote.output)
    return Exit.OK


@click.command("list")
@filter_options
@LIMIT
@remote
async def list_requests(remote: Remote, limit: int, **options: Any) -> int:  # noqa: ANN401 - what click has parsed
    """List release requests, the newest first; all filters must hold."""
    size = min(_LARGEST_PAGE, limit + 1) if limit else _LARGEST_PAGE
    shown = await first_of(remote.client.list(**filters_of(options), page_size=size), limit)
    show_rows(shown, requests_table(shown), remote.output)
    return Exit.OK


@click.command()
@REQUEST_ID
@click.option("--timeout", type=click.FloatRange(0), help="Seconds; without it, until it is done.")
@JSON_OUTPUT
@patient_remote
async def wait(remote: Remote, request_id: str, timeout: float | None) -> int:  # noqa: ASYNC109 - click's option
    """Wait until a release request is done; exit 0 if it is released, 1 if it ended otherwise, 3 if time is up."""
    request = await wait_for(remote.client, request_id, seconds=timeout)
    show_request(request, remote.output)
    return exit_of(request)


@click.command()
@REQUEST_ID
@REASON
@remote
async def cancel(remote: Remote, request_id: str, reason: str | None) -> int:
    """End a release request for which no call was made."""
    show_request(await remote.client.cancel(request_id, reason), remote.output)
    return Exit.OK


@click.command()
@REQUEST_ID
@REASON
@remote
async def retry(remote: Remote, request_id: str, reason: str | None) -> int:
    """Have a release request that failed or was rejected wait again."""
    show_request(await remote.client.retry(request_id, reason), remote.output)
    return Exit.OK


@click.command()
@REQUEST_ID
@remote
async def events(remote: Remote, request_id: str) -> int:
    """Show the timeline of a release request, oldest first."""
    shown = [event async for event in remote.client.events(request_id)]
    show_rows(shown, events_table(shown), remote.output)
    return Exit.OK
