"""The command that checks everything at once."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import orjson

from service.commands.doctor.findings import Finding, Status, bad, good
from service.commands.doctor.servers import check_postgres, check_redis
from service.commands.doctor.vendor import Surroundings, check_vendor
from service.commands.options import JSON_OUTPUT, OUTPUT, Exit, command_errors
from service.commands.output import Table, has_colours, write_table
from service.commands.start import known_secrets
from service.core.config import Settings
from service.core.credentials import find_credentials
from service.core.errors import ConfigurationError
from service.core.log import configure_logging

_COLOURS = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "red"}


@click.command()
@click.option(
    "--workspace", metavar="WS", help="The workspace that is read; default RELEASE_DEFAULT_WORKSPACE."
)
@OUTPUT
@JSON_OUTPUT
@command_errors
def doctor(workspace: str | None, output: str) -> int:
    """Check database, schema, Redis, credentials, endpoint, a signed read and the clock; each line with its fix."""
    findings = asyncio.run(examine(os.environ, workspace=workspace))
    write_findings(findings, output)
    return Exit.FAILED if any(one.status is Status.FAIL for one in findings) else Exit.OK


async def examine(environment: Mapping[str, str], *, workspace: str | None) -> list[Finding]:
    """Make all checks; nothing is changed anywhere."""
    try:
        settings = Settings.from_env(environment)
    except ConfigurationError as error:
        return [bad("settings", str(error), fix="correct them; docs/configuration.md explains each")]
    found = [good("settings", "every setting that is given has a good value")]
    try:
        credentials = find_credentials(environment, home=Path(environment.get("HOME", "/")))
    except ConfigurationError as error:
        credentials = None
        found.append(bad("credentials", str(error), fix="set both, or neither"))
    configure_logging(level="error", log_format=None, secrets=known_secrets(settings, credentials))
    around = Surroundings(
        settings=settings, credentials=credentials, environment=environment, workspace=workspace
    )
    parts = await asyncio.gather(_postgres(settings), _redis(settings), _vendor(around, found))
    return [*found, *(finding for part in parts for finding in part)]


async def _postgres(settings: Settings) -> list[Finding]:
    if settings.database_url is None:
        fix = "set RELEASE_DATABASE_URL, such as postgresql://user@host/database"
        return [bad("database", "RELEASE_DATABASE_URL is not set", fix=fix)]
    return await check_postgres(settings.database_url.get_secret_value())


async def _redis(settings: Settings) -> list[Finding]:
    if settings.redis_url is None:
        return [
            bad(
                "redis",
                "RELEASE_REDIS_URL is not set",
                fix="set RELEASE_REDIS_URL, such as redis://host:6379/0",
            )
        ]
    return await check_redis(settings.redis_url.get_secret_value())


async def _vendor(around: Surroundings, found: Sequence[Finding]) -> list[Finding]:
    """Check the vendor, unless half a pair of credentials was found: more is not known then."""
    return [] if any(one.status is Status.FAIL for one in found) else await check_vendor(around)


def write_findings(findings: Sequence[Finding], output: str) -> None:
    """Print the findings, for people with the fix below its line."""
    match output:
        case "json":
            click.echo(orjson.dumps(findings, option=orjson.OPT_INDENT_2))
        case "tsv":
            rows = [(one.status.value, one.check, one.detail, one.fix or None) for one in findings]
            write_table(Table(columns=("status", "check", "detail", "fix"), rows=rows), output)
        case _:
            _write_lines(findings)


def _write_lines(findings: Sequence[Finding]) -> None:
    longest = max(len(one.check) for one in findings)
    for one in findings:
        status = click.style(one.status.value.ljust(4), fg=_COLOURS[one.status])
        click.echo(f"{status}  {one.check.ljust(longest)}  {one.detail}", color=has_colours())
        if one.fix:
            click.echo(f"{' ' * (longest + 8)}{one.fix}")
