"""The commands for API keys and access keys."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import click

from service.commands.keys import create_ordered, keys_table, list_keys, revoke_key
from service.commands.options import JSON_OUTPUT, OUTPUT, command_errors
from service.commands.output import write_record, write_table
from service.commands.start import read_start
from service.core.key_orders import KeyOrder
from service.doors.auth import Scope


@click.group()
def keys() -> None:
    """Create, list and end API keys and access keys."""


@keys.command("create")
@click.option("--name", required=True, help="Whose key it is.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice([scope.value for scope in Scope]),
    help="What it may do; repeatable.",
)
@click.option(
    "--workspace",
    "workspaces",
    multiple=True,
    required=True,
    help="PROJECT/WORKSPACE; * stands for any text.",
)
@click.option("--apply-user", "apply_user_ids", multiple=True, help="Whom it may apply for; default anybody.")
@click.option("--expires-days", type=click.IntRange(1, 3650), help="Days until the key ends.")
@click.option("--aksk", "is_access_key", is_flag=True, help="An access key and its secret, to sign with.")
@OUTPUT
@JSON_OUTPUT
@command_errors
def keys_create(output: str, *, is_access_key: bool, expires_days: int | None, **order: Any) -> int:  # noqa: ANN401 - what click has parsed
    """Create an API key, or an access key for the vendor's SDKs; the secret is shown this once."""
    expires_in = None if expires_days is None else timedelta(days=expires_days)
    ordered = KeyOrder(expires_in=expires_in, is_access_key=is_access_key, **order)
    created = asyncio.run(create_ordered(read_start().settings, ordered))
    write_record(created.shown, output)
    return 0


@keys.command("list")
@OUTPUT
@JSON_OUTPUT
@command_errors
def keys_list(output: str) -> int:
    """List API keys and access keys; of a key only its id and its rights are shown."""
    write_table(keys_table(asyncio.run(list_keys(read_start().settings.require_database()))), output)
    return 0


@keys.command("revoke")
@click.argument("key_id", type=click.UUID)
@command_errors
def keys_revoke(key_id: UUID) -> int:
    """End an API key; within a second no process takes it any more."""
    if asyncio.run(revoke_key(read_start().settings.require_database(), key_id)):
        return 0
    click.echo(
        f"batch-release: no live key has the id {key_id}; `batch-release keys list` shows them", err=True
    )
    return 1
