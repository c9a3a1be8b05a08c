"""Shows how far a release request is while it is waited for: one line that changes, or a line for each change."""

import asyncio
import shutil
import sys
from contextlib import aclosing

import click

from service.background import running
from service.client.records import ReleaseRequest
from service.client.release_client import ReleaseClient
from service.commands.options import Exit
from service.commands.remote.ages import span_of

_TICK_SECONDS = 1.0
_CLEAR_LINE = "\r\x1b[2K"
_NARROWEST = 20
_UNDER_WAY = {"waiting", "batched", "releasing", "in_doubt", "needs_attention"}


class Progress:
    """A line on standard error."""

    def __init__(self) -> None:
        self._is_live = sys.stderr.isatty()
        self._began = asyncio.get_running_loop().time()
        self._line = ""

    def update(self, request: ReleaseRequest) -> None:
        """Show how the request stands."""
        line = line_of(request)
        if line == self._line:
            return
        self._line = line
        if self._is_live:
            self._draw()
        else:
            click.echo(line, err=True)

    async def tick(self) -> None:
        """Show that time passes, where the line can change."""
        while self._is_live:
            await asyncio.sleep(_TICK_SECONDS)
            self._draw()

    def clear(self) -> None:
        """Take the line away, where it can change."""
        if self._is_live and self._line:
            click.echo(_CLEAR_LINE, err=True, nl=False)

    def _draw(self) -> None:
        passed = asyncio.get_running_loop().time() - self._began
        width = max(_NARROWEST, shutil.get_terminal_size().columns - 1)
        click.echo(_CLEAR_LINE + f"{self._line}, {span_of(passed)}"[:width], err=True, nl=False)


async def wait_for(
    client: ReleaseClient, request_id: str, *, seconds: float | None, seen: ReleaseRequest | None = None
) -> ReleaseRequest:
    """Wait until a request is done, and show how it comes along; ``seen`` is how it stood.

    Raises:
        TimeoutError: it is not done after so many seconds.
        ReleaseError: there is none of this id, or the service stays away.
    """
    progress = Progress()
    request = seen
    try:
        if seen is not None:
            progress.update(seen)
        async with running(progress.tick()), aclosing(client.watch(request_id, seconds)) as changes:
            async for request in changes:
                progress.update(request)
    except TimeoutError:
        raise TimeoutError(_still_there(request_id, request, seconds)) from None
    finally:
        progress.clear()
    if request is None:
        raise AssertionError("a watch begins with a look")
    return request


def line_of(request: ReleaseRequest) -> str:
    """Say how a request stands in one line."""
    ended = sum(item.state not in _UNDER_WAY for item in request.items)
    line = f"{request.id} {request.state}, {ended} of {len(request.items)} items done"
    return f"{line}, waits for {request.wait_reason}" if request.wait_reason else line


def exit_of(request: ReleaseRequest) -> Exit:
    """Return the exit code of a request that is done."""
    return Exit.OK if request.is_released else Exit.FAILED


def _still_there(request_id: str, request: ReleaseRequest | None, seconds: float | None) -> str:
    stands = "not known how" if request is None else request.state
    return (
        f"{request_id} is {stands} after {seconds:g} s, and goes on: "
        f"`batch-release wait {request_id}` waits for longer"
    )
