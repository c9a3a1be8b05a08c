"""Waits for something to become true, with a deadline instead of a guess."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(
    check: Callable[[], Awaitable[T]], *, within: float = ..., every: float = ..., what: str = ...
) -> T: ...


@overload
async def eventually(
    check: Callable[[], T], *, within: float = ..., every: float = ..., what: str = ...
) -> T: ...


async def eventually(
    check: Callable[[], T | Awaitable[T]],
    *,
    within: float = 5.0,
    every: float = 0.02,
    what: str = "the check",
) -> T:
    """Call ``check``, plain or async, every so many seconds until it returns something true; return that.

    Raises:
        AssertionError: It did not within so many seconds; the message has the last value.
    """
    deadline = time.monotonic() + within
    while not (value := await _call(check)):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} was still {value!r} after {within} s")
        await asyncio.sleep(every)
    return value


async def _call(check: Callable[[], T | Awaitable[T]]) -> T:
    value = check()
    return await value if inspect.isawaitable(value) else value
