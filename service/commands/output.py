"""Prints rows as a table for people, as JSON or as tab-separated values for programs."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click
import orjson


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows with the names of their columns."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]


def write_table(table: Table, output: str) -> None:
    """Print a table in the form ``table``, ``json`` or ``tsv``."""
    match output:
        case "json":
            records = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
            click.echo(orjson.dumps(records, option=orjson.OPT_UTC_Z | orjson.OPT_INDENT_2, default=str))
        case "tsv":
            for row in (table.columns, *table.rows):
                click.echo("\t".join(_cell(value) for value in row))
        case _:
            click.echo(format_table(table))


def write_record(record: Mapping[str, Any], output: str) -> None:
    """Print one record in the form ``table``, ``json`` or ``tsv``."""
    if output == "json":
        click.echo(orjson.dumps(record, option=orjson.OPT_UTC_Z | orjson.OPT_INDENT_2, default=str))
    else:
        write_table(Table(columns=tuple(record), rows=[tuple(record.values())]), output)


def has_colours() -> bool:
    """Tell whether standard output is a terminal of somebody who wants colours."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def format_table(table: Table) -> str:
    """Return the rows in columns of equal width."""
    cells = [list(table.columns), *([_cell(value) for value in row] for row in table.rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(table.columns))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, tuple | list):
        return ",".join(str(part) for part in value)
    return str(value)
