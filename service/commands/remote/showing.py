"""Prints answers: for people with ages and colours, for programs as the service wrote them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import click
import orjson

from service.client.reading import Resource
from service.commands.output import Table, has_colours, write_table
from service.commands.remote.ages import age_of, now
from service.core.wording import escaped

_STATE = "state"
_GOOD = {"released", "done", "closed", "ok"}
_BAD = {"rejected", "failed", "partly_released", "expired", "needs_attention", "open", "aborted", "fail"}
_DOUBTFUL = {"in_doubt", "cancelled", "paused", "warn"}


def show_rows(resources: Sequence[Resource], table: Table, output: str) -> None:
    """Print resources: their JSON, or the rows of a table."""
    if output == "json":
        show_json([resource.raw for resource in resources])
    else:
        show_table(table, output)


def show_table(table: Table, output: str) -> None:
    """Print rows, for people or as tab-separated values."""
    if output == "tsv":
        write_table(_with_cells(table, _machine_cell), output)
        return
    plain = _with_cells(table, _human_cell)
    widths = [max(map(len, cells)) for cells in zip(plain.columns, *plain.rows, strict=True)]
    for row in (plain.columns, *plain.rows):
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        coloured = map(_coloured, plain.columns, row, padded)
        click.echo("  ".join(coloured).rstrip(), color=has_colours())


def show_members(members: Mapping[str, Any]) -> None:
    """Print the members of one thing below each other, for people; what there is none of is left out."""
    given = {name: _human_cell(value) for name, value in members.items() if value not in (None, (), {})}
    longest = max(map(len, given))
    for name, text in given.items():
        click.echo(f"{name.ljust(longest)}  {_coloured(name, text, text)}", color=has_colours())


def show_json(document: Any) -> None:  # noqa: ANN401 - any JSON
    """Print JSON."""
    click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))


def note(sentence: str) -> None:
    """Say something beside the output."""
    click.echo(sentence, err=True)


def _coloured(column: str, text: str, padded: str) -> str:
    if column != _STATE:
        return padded
    for words, colour in ((_GOOD, "green"), (_BAD, "red"), (_DOUBTFUL, "yellow")):
        if text in words:
            return click.style(padded, fg=colour)
    return padded


def _with_cells(table: Table, cell: Any) -> Table:  # noqa: ANN401 - a function
    return Table(columns=table.columns, rows=[[cell(value) for value in row] for row in table.rows])


def _human_cell(value: object) -> str:
    if isinstance(value, datetime):
        return age_of(value, seen_at=now())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _text_of(value, between=", ")


def _machine_cell(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bool):
        return "true" if value else "false"
    return _text_of(value, between=",")


def _text_of(value: object, *, between: str) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, Mapping):
        return between.join(f"{name}={text}" for name, text in value.items()) or "-"
    if isinstance(value, Iterable) and not isinstance(value, str):
        return between.join(map(str, value)) or "-"
    return escaped(str(value))
