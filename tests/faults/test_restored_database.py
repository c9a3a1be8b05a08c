"""An old copy of the database is put back: what was released since is not known any more, and not released again."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from service.embedded.postgres import EmbeddedPostgres
from tests.faults.conftest import StackOn
from tests.support.stack import Stack, body

STRICT: dict[str, object] = {"already_packaged": "strict"}
#: What the audit says of a package that was made after the copy.
UNKNOWN = "has a name of ours, but no batch has it"


@pytest.mark.usefixtures("own_database_url")
async def test_nothing_is_released_twice_after_a_restore(
    stack_on: StackOn,
    own_postgres: EmbeddedPostgres,
    redis_url: str,
    tmp_path: Path,
) -> None:
    """What the copy shows waiting stays in its one package, by a strict vendor; the audit names each unknown one."""
    async with stack_on(own_postgres.url, redis_url, STRICT, starts=False) as stack:
        await stack.start_api()
        await release_and_stop(stack, await stack.submit(body("0", workspace="ws-2")))
        waiting = await stack.submit(body("1"))
        copy = await copy_of(own_postgres, tmp_path / "copy")
        lost = await stack.submit(body("2", workspace="ws-2"))
        await release_and_stop(stack, waiting, lost)
        packages = await stack.emulator.packages()
        await put_back(own_postgres, copy)
        before = await audit_with_vendor(stack)
        await stack.start_worker()
        request = await stack.wait_for(waiting["id"], "rejected", "needs_attention", within=30.0)
        after = await audit_with_vendor(stack)
        async with stack.http.get(f"{stack.url}/v1/release-requests/{lost['id']}") as response:
            status = response.status
        unknown = {package["package_id"]: package["package_name"] for package in packages[1:]}
        findings = [("A7", f"package {number}", f"{UNKNOWN}: {name}") for number, name in unknown.items()]

        assert len(packages) == 3
        assert before == (1, findings)
        assert after == (1, findings)
        assert await stack.emulator.packages() == packages
        assert (await stack.emulator.ledger())["duplicates"] == []
        assert request["items"][0]["release_package_id"] is None
        assert request["items"][0]["error"] is not None
        assert status == 404


async def release_and_stop(stack: Stack, *requests: dict[str, Any]) -> None:
    """Let a worker release these requests, and end it."""
    worker = await stack.start_worker()
    for request in requests:
        await stack.wait_for(request["id"], "released")
    worker.kill()


async def audit_with_vendor(stack: Stack) -> tuple[int, list[tuple[str, str, str]]]:
    """Run the audit as an operator does; returns its exit code and the rows that are wrong."""
    audit = stack.start("audit", "--vendor", "-o", "json")
    code = await audit.wait(within=60.0)
    rows = json.loads(audit.stdout)
    return code, sorted((row["rule"], row["row"], row["detail"]) for row in rows)


async def copy_of(postgres: EmbeddedPostgres, copy: Path) -> Path:
    """Copy the cluster while the server is stopped."""
    cluster = cluster_of(postgres)
    await postgres.stop()
    duplicate(cluster, copy)
    await postgres.start()
    return copy


async def put_back(postgres: EmbeddedPostgres, copy: Path) -> None:
    """Replace the cluster by its copy, as after a failover to a replica that was behind."""
    cluster = cluster_of(postgres)
    await postgres.stop()
    shutil.rmtree(cluster)
    duplicate(copy, cluster)
    await postgres.start()


def cluster_of(postgres: EmbeddedPostgres) -> Path:
    """Find the directory of the data by the server's command line."""
    words = Path(f"/proc/{postgres.pid}/cmdline").read_bytes().split(b"\0")
    return Path(words[words.index(b"-D") + 1].decode())


def duplicate(source: Path, target: Path) -> None:
    """Copy a directory with its owners, of whom Postgres is particular."""
    subprocess.run(["cp", "-a", source, target], check=True)
