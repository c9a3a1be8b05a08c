"""The command that prints what a shell needs to complete the others."""

import click
from click.shell_completion import get_completion_class

_PROGRAM = "batch-release"
_VARIABLE = "_BATCH_RELEASE_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what a shell needs to complete commands and options; docs/commands.md says where to put it."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"{shell} is not known")
    click.echo(kind(context.find_root().command, {}, _PROGRAM, _VARIABLE).source())
