"""The ledger on disk: one JSON line an event, appended with one write, replayed at the start."""

import os
from pathlib import Path

import orjson
from pydantic import TypeAdapter, ValidationError

from service.core.errors import ServiceError
from service.emulator.book import Book
from service.emulator.events import Event

_EVENT: TypeAdapter[Event] = TypeAdapter(Event)


class LedgerDamagedError(ServiceError):
    """A whole line of the ledger cannot be read."""


class Ledger:
    """Writes each event to the file before the book, and so before anybody hears of it.

    A line survives the death of the process (the kernel has it when ``append`` returns), not of the machine.
    """

    def __init__(self, path: Path | None) -> None:
        """Open the file, and bring back what it holds; without a path nothing is kept.

        Raises:
            LedgerDamagedError: A line other than a torn last one cannot be read.
        """
        self.book = Book()
        self._file: int | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            self._replay(path)

    def append(self, *events: Event) -> None:
        """Write events with one write and take them into the book."""
        if self._file is not None:
            os.write(self._file, b"".join(orjson.dumps(event) + b"\n" for event in events))
        for event in events:
            self.book.apply(event)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _replay(self, path: Path) -> None:
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(), start=1):
            self.book.apply(_read(line, path, number=number))
        if self._file is not None and len(whole) < len(content):
            os.ftruncate(self._file, len(whole))


def _read(line: bytes, path: Path, *, number: int) -> Event:
    try:
        return _EVENT.validate_json(line)
    except ValidationError as error:
        raise LedgerDamagedError(
            f"line {number} of {path} cannot be read: move the file away or start with another"
        ) from error
