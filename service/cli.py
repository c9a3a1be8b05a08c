"""The commands and how they are called; what they do is in ``commands``.

Exit codes: 0 ok, 1 failed, 2 usage or configuration, 3 timed out.
"""

import asyncio
import socket
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec
from uuid import UUID

import click

from service import __version__
from service.commands.audit import run_audit, run_self_test
from service.commands.demo import run_demo
from service.commands.emulator import read_faults, run_emulator
from service.commands.http import run_http, run_http_processes
from service.commands.keys import create_ordered, keys_table, list_keys, revoke_key
from service.commands.migrate import apply_migrations, migrations_applied, show_migrations
from service.commands.output import write_record, write_table
from service.commands.start import Start, read_start, run
from service.commands.up import run_up
from service.core.errors import ConfigurationError, ServiceError
from service.core.key_orders import KeyOrder
from service.doors.auth import Scope
from service.emulator.config import EmulatorConfig
from service.worker import run_worker

P = ParamSpec("P")
OUTPUT = click.option(
    "-o", "--output", type=click.Choice(["table", "json", "tsv"]), default="table", help="Form of the output."
)


def command_errors(function: Callable[P, int]) -> Callable[P, None]:
    """End the process with the command's exit code; an error of ours becomes one sentence on standard error."""

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = function(*args, **kwargs)
        except ConfigurationError as error:
            click.echo(f"batch-release: {error}", err=True)
            code = 2
        except ServiceError as error:
            click.echo(f"batch-release: {error}", err=True)
            code = 1
        except KeyboardInterrupt:
            code = 130
        sys.exit(code)

    return wrapped


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="batch-release")
def main() -> None:
    """Gets changes of Huawei Cloud DataArts Studio released by many tools at once."""


@main.command()
@command_errors
def demo() -> int:
    """Run the main job on embedded servers against a vendor that misbehaves, and check the result."""
    return run(run_demo())


@main.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=Path(".data"),
    show_default=True,
    help="Directory of all data.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="HTTP port.")
@command_errors
def up(data: Path, port: int) -> int:
    """Run everything on this machine: servers, emulator, API and worker."""
    return run(run_up(data, port))


@main.command()
@click.option(
    "--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes on one port."
)
@click.option("--listener", type=int, hidden=True)
@command_errors
def api(processes: int, listener: int | None) -> int:
    """Run the HTTP process. Needs RELEASE_DATABASE_URL and RELEASE_REDIS_URL."""
    start = read_start()
    settings = start.settings
    settings.require_servers()
    if processes > 1:
        return run(run_http_processes(settings, processes))
    held = None if listener is None else socket.socket(fileno=listener)
    return run(run_http(settings, start.credentials, listener=held))


@main.command()
@command_errors
def worker() -> int:
    """Run one worker process. Needs RELEASE_DATABASE_URL, RELEASE_REDIS_URL, a vendor and credentials."""
    start = read_start()
    return run(work(start))


async def work(start: Start) -> int:
    """Run a worker to its end."""
    await run_worker(start.settings, start.credentials)
    return 0


@main.command()
@click.option("--status", "is_status", is_flag=True, help="Only show how each migration stands.")
@OUTPUT
@command_errors
def migrate(is_status: bool, output: str) -> int:
    """Bring the schema to where this version needs it; safe when run by several at once."""
    database_url = read_start().settings.require_database()
    if is_status:
        table = asyncio.run(show_migrations(database_url))
    else:
        table = migrations_applied(asyncio.run(apply_migrations(database_url)))
    write_table(table, output)
    return 0


@main.command()
@click.option("--vendor", "is_vendor_asked", is_flag=True, help="Also compare with the vendor's lists.")
@click.option("--self-test", "is_self_test", is_flag=True, help="Show that each rule finds a damaged row.")
@OUTPUT
@command_errors
def audit(output: str, *, is_vendor_asked: bool, is_self_test: bool) -> int:
    """Prove on the data that nothing is lost or doubled; exit 1 with the rows that are wrong."""
    start = read_start()
    if is_self_test:
        return run(run_self_test(start, output=output))
    return run(run_audit(start, is_vendor_asked=is_vendor_asked, output=output))


@main.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=9080, show_default=True, help="0 takes any free port."
)
@click.option("--faults", type=click.Path(path_type=Path), help="JSON file, as PUT /_faults takes it.")
@click.option("--ledger", type=click.Path(path_type=Path), help="File that keeps what happened.")
@command_errors
def emulator(port: int, faults: Path | None, ledger: Path | None) -> int:
    """Run the vendor emulator alone; what it was asked is at GET /_ledger."""
    return run(run_emulator(EmulatorConfig(port=port, ledger_path=ledger, faults=read_faults(faults))))


@main.group()
def keys() -> None:
    """Create, list and end API keys and access keys."""


@keys.command("create")
@click.option("--name", required=True, help="Whose key it is.")
@click.option(
    "--scope", "scopes", multiple=True, required=True, type=click.Choice([scope.value for scope in Scope])
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
