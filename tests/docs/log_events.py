"""The table of log events: names, levels and fields come from the code, what they mean is written by hand."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from service.core.telemetry import LogEvent
from tests.docs.markdown import NONE, REPOSITORY, cells_of

HEAD = "| event | level, and fields | what it means | what to do |\n|---|---|---|---|\n"
LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}
#: With the traceback, which is no field of its own.
_TRACEBACK = "exc_info"


@dataclass(slots=True, kw_only=True)
class Line:
    """What the lines of an event have, wherever they are written."""

    levels: set[str] = field(default_factory=set)
    fields: list[str] = field(default_factory=list)


def log_events_table(present: str) -> str:
    """Return the table, with the words that are there."""
    rows = [cells_of(line) for line in present.splitlines() if line.startswith("| `")]
    written = {cells[0]: cells[-2:] for cells in rows}
    lines = lines_of_the_log()
    return HEAD + "".join(
        _row(event, lines[event], *written.get(event.value, ("", NONE))) for event in LogEvent
    )


def _row(event: LogEvent, line: Line, meaning: str, deed: str) -> str:
    levels = " or ".join(level for level in dict.fromkeys(LEVELS.values()) if level in line.levels)
    fields = ", ".join(f"`{name}`" for name in line.fields)
    return f"| `{event.value}` | {levels}{': ' if fields else ''}{fields} | {meaning} | {deed} |\n"


def lines_of_the_log() -> dict[LogEvent, Line]:
    """Find all lines that the service writes, in the order of the catalogue."""
    found: dict[LogEvent, Line] = defaultdict(Line)
    # The words of libraries are made into this one event by a processor, not by a call.
    found[LogEvent.LIBRARY_SAID] = Line(levels={"warning", "error"}, fields=["library", "words"])
    for path in sorted((REPOSITORY / "service").rglob("*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        for call in ast.walk(module):
            if isinstance(call, ast.Call) and (event := _event_of(call)):
                line = found[event]
                line.levels |= {LEVELS[name] for name in _methods(call.func, module)}
                line.fields += [name for name in _fields(call, module) if name not in line.fields]
    return found


def _event_of(call: ast.Call) -> LogEvent | None:
    match call.args:
        case [ast.Attribute(value=ast.Name(id="LogEvent"), attr=name)]:
            return LogEvent[name]
        case _:
            return None


def _methods(function: ast.expr, module: ast.Module) -> Iterator[str]:
    match function:
        case ast.Attribute(attr=method):
            yield method
        case ast.Name(id=name):
            inner = (node for value in _values_of(name, module) for node in ast.walk(value))
            yield from (
                node.attr for node in inner if isinstance(node, ast.Attribute) and node.attr in LEVELS
            )
        case _:
            raise AssertionError(ast.unparse(function))


def _fields(call: ast.Call, module: ast.Module) -> Iterator[str]:
    for keyword in call.keywords:
        if keyword.arg is None:
            yield from _keys_of(keyword.value, module)
        elif keyword.arg != _TRACEBACK:
            yield keyword.arg


def _keys_of(given: ast.expr, module: ast.Module) -> Iterator[str]:
    """Yield the names of the fields that are given as one, by a name or by a function of the module."""
    match given:
        case ast.Name(id=name):
            values = list(_values_of(name, module))
        case ast.Call(func=ast.Name(id=name)):
            values = list(_returns_of(name, module))
        case _:
            values = [given]
    keys = [
        ast.literal_eval(key)
        for value in values
        for node in ast.walk(value)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if key is not None
    ]
    assert keys, f"the fields of {ast.unparse(given)} are not found"
    yield from keys


def _values_of(name: str, module: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(module):
        match node:
            case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                yield value
            case _:
                pass


def _returns_of(name: str, module: ast.Module) -> Iterator[ast.expr]:
    for function in ast.walk(module):
        if isinstance(function, ast.FunctionDef) and function.name == name:
            yield from (
                node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value
            )
