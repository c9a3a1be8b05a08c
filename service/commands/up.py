"""Runs everything on this machine until Ctrl-C."""

import asyncio
import json
import signal
import sys
from pathlib import Path

from service.commands.local import LocalOptions, LocalStack, local_stack

#: The emulator's lists show a package at once, so a doubt is looked up sooner than with a vendor.
_PATIENCE = {"RELEASE_SETTLE_SECONDS": "5"}


async def run_up(data: Path, port: int) -> int:
    """Start everything, print how to use it, and stop it at SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with local_stack(LocalOptions(data=data, port=port, environment=_PATIENCE)) as stack:
        (data / "emulator-url").write_text(f"{stack.emulator_url}\n", encoding="ascii")
        sys.stdout.write(welcome(stack))
        sys.stdout.flush()
        await stop.wait()
        sys.stdout.write("stopping …\n")
    return 0


def welcome(stack: LocalStack) -> str:
    """Return the addresses, the key, and a curl line that works as pasted."""
    body = json.dumps(
        {
            "workspace": "demo",
            "apply_user_id": "applicant-1",
            "approver_ids": ["approver-1"],
            "pending_item_list": ["26", "27"],
        }
    )
    return f"""\
batch-release is up

  API        {stack.api_url}
  emulator   {stack.emulator_url}  (what it was asked: {stack.emulator_url}/_ledger)
  API key    {stack.api_key}
  console    {stack.api_url}/  (log in with the API key)
  SDKs       {stack.sdk_environment}
  queue      {stack.redis_url}
  logs       {stack.logs}

Hand in a release request, and wait up to 10 seconds for its result:

curl -s -X POST {stack.api_url}/v1/release-requests -H 'Authorization: Bearer {stack.api_key}' \
-H 'Content-Type: application/json' -H 'Idempotency-Key: first-try' -H 'Prefer: wait=10' -d '{body}'

Ctrl-C stops everything; the data stays.
"""
