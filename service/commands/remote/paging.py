"""Takes as many rows of a list as were asked for."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

import click

from service.commands.remote.showing import note

T = TypeVar("T")

LIMIT = click.option(
    "--limit", type=click.IntRange(0), default=50, show_default=True, help="Rows at most; 0 for all."
)


async def first_of(entries: AsyncGenerator[T, None], limit: int) -> list[T]:
    """Return the first so many, and say where there are more; 0 is all."""
    taken: list[T] = []
    async with aclosing(entries):
        async for entry in entries:
            if limit and len(taken) == limit:
                note(f"There are more than {limit}: --limit 0 shows all.")
                break
            taken.append(entry)
    return taken
