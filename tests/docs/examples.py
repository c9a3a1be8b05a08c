"""Runs what the docs show: shell lines with curl, Redis commands, and JSON to compare with."""

import asyncio
import json
import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

#: Whatever JSON holds.
Json = Any

#: Prints its arguments instead of sending them: curl itself need not be there.
_CURL = """curl() { for word in "$@"; do printf '%s\\0' "$word"; done; }\n"""
_VARYING = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "ID"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "HEX"),
    (re.compile(r"^command line, .+"), "command line, USER"),
)
_COUNTED_BY_OTHERS = {"duration_ms": 0, "release_package_id": "1"}


def shell(script: str, *, directory: Path, **variables: str) -> str:
    """Run shell lines, which must succeed, and return what they print."""
    environment = {"PATH": "/usr/bin:/bin", **variables}
    done = subprocess.run(
        ["sh", "-euc", script],
        check=True,
        capture_output=True,
        text=True,
        cwd=directory,
        env=environment,
    )
    return done.stdout


async def curl(script: str, *, directory: Path, **variables: str) -> Json:
    """Send what a line with curl would send, and return the JSON that comes back."""
    words = shell(_CURL + script, directory=directory, **variables).split("\0")[:-1]
    method, url, headers, data = read_words(words)
    async with aiohttp.request(method, url, headers=headers, data=data) as response:
        return json.loads(await response.read())


def read_words(words: Sequence[str]) -> tuple[str, str, dict[str, str], str | None]:
    """Read the few options of curl that the docs use.

    Raises:
        AssertionError: there is another one, or no address.
    """
    method, url, data = "GET", "", None
    headers: dict[str, str] = {}
    left = iter(words)
    for word in left:
        match word:
            case "-s":
                continue
            case "-X":
                method = next(left)
            case "-H":
                name, _, value = next(left).partition(": ")
                headers[name] = value
            case "-d":
                data = next(left)
            case _:
                assert word.startswith("http"), f"curl's {word} is not known here"
                url = word
    assert url, words
    return method, url, headers, data


async def redis_commands(script: str, *, url: str) -> list[str]:
    """Send Redis commands over one connection and return the lines of the answers, in the protocol's own form."""
    commands = [shlex.split(line) for line in script.splitlines()]
    reader, writer = await asyncio.open_unix_connection(urlsplit(url).path)
    try:
        for command in [*commands, ["QUIT"]]:
            writer.write(_encode(command))
        return (await asyncio.wait_for(reader.read(), 10)).decode().split("\r\n")[:-1]
    finally:
        writer.close()
        await writer.wait_closed()


def _encode(command: Sequence[str]) -> bytes:
    """Write a command as RESP says: an array of bulk strings."""
    words = [word.encode() for word in command]
    parts = [b"*%d\r\n" % len(words), *(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)]
    return b"".join(parts)


def comparable(value: Json) -> Json:
    """Put what differs from run to run, such as ids and times, into one form."""
    if isinstance(value, Mapping):
        return {name: _comparable_member(name, member) for name, member in value.items()}
    if isinstance(value, list):
        return [comparable(entry) for entry in value]
    if isinstance(value, str):
        for pattern, name in _VARYING:
            value = pattern.sub(name, value)
    return value


def _comparable_member(name: str, value: Json) -> Json:
    if value is not None and name in _COUNTED_BY_OTHERS:
        return _COUNTED_BY_OTHERS[name]
    return comparable(value)
