"""A process that starts both servers, says so in one line of JSON, and stops them when its input ends."""

import asyncio
import json
import os
import sys
from pathlib import Path

from service.embedded.postgres import EmbeddedPostgres
from service.embedded.valkey import EmbeddedValkey


async def supervise(directory: Path) -> None:
    async with (
        EmbeddedPostgres(directory / "postgres") as postgres,
        EmbeddedValkey(directory / "valkey") as valkey,
    ):
        report = {"uid": os.geteuid(), "postgres": postgres.pid, "valkey": valkey.pid}
        sys.stdout.write(json.dumps(report) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(supervise(Path(sys.argv[1])))
