"""The commands and where they are; they are imported when they are called.

Exit codes: 0 ok, 1 failed, 2 usage or configuration, 3 timed out.
"""

import click

from service import __version__
from service.commands.lazy import LazyGroup, Sections

SECTIONS: Sections = {
    "Run": {
        "demo": "service.commands.running:demo",
        "up": "service.commands.running:up",
        "api": "service.commands.running:api",
        "worker": "service.commands.running:worker",
        "emulator": "service.commands.running:emulator",
    },
    "Release requests": {
        "submit": "service.commands.remote.submitting:submit",
        "status": "service.commands.remote.requests:status",
        "wait": "service.commands.remote.requests:wait",
        "list": "service.commands.remote.requests:list_requests",
        "events": "service.commands.remote.requests:events",
        "cancel": "service.commands.remote.requests:cancel",
        "retry": "service.commands.remote.requests:retry",
    },
    "Operate": {
        "workspaces": "service.commands.remote.workspaces:workspaces",
        "pause": "service.commands.remote.workspaces:pause",
        "resume": "service.commands.remote.workspaces:resume",
        "flush": "service.commands.remote.workspaces:flush",
        "settings": "service.commands.remote.workspaces:settings",
        "attention": "service.commands.remote.batches:attention",
        "resolve": "service.commands.remote.batches:resolve",
        "batches": "service.commands.remote.batches:batches",
        "batch": "service.commands.remote.batches:batch",
        "operations": "service.commands.remote.operations:operations",
        "rejects": "service.commands.remote.trails:rejects",
        "audit-log": "service.commands.remote.trails:audit_log",
    },
    "Look after": {
        "migrate": "service.commands.upkeep:migrate",
        "audit": "service.commands.upkeep:audit",
        "doctor": "service.commands.doctor.command:doctor",
        "keys": "service.commands.key_commands:keys",
        "completion": "service.commands.completing:completion",
    },
}


@click.group(cls=LazyGroup, sections=SECTIONS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="batch-release")
def main() -> None:
    """Gets changes of Huawei Cloud DataArts Studio released by many tools at once."""
