"""An old copy of the database is put back: what was released since is not known any more, and not released again."""

import shutil
import subprocess
from pathlib import Path

import pytest

from service.embedded.postgres import EmbeddedPostgres
from tests.faults.conftest import StackOn
from tests.support.stack import body

pytestmark = pytest.mark.long

STRICT: dict[str, object] = {"already_packaged": "strict"}


@pytest.mark.usefixtures("own_database_url")
async def test_nothing_is_released_twice_after_a_restore(
    stack_on: StackOn,
    own_postgres: EmbeddedPostgres,
    redis_url: str,
    tmp_path: Path,
) -> None:
    """With a strict vendor a released item that the copy shows waiting stays in its one package, not released."""
    async with stack_on(own_postgres.url, redis_url, STRICT, starts=False) as stack:
        await stack.start_api()
        known = await stack.submit(body("1"))
        copy = await copy_of(own_postgres, tmp_path / "copy")
        worker = await stack.start_worker()
        unknown = await stack.submit(body("2", workspace="ws-2"))
        for request in (known, unknown):
            await stack.wait_for(request["id"], "released")
        packages = await stack.emulator.packages()
        worker.kill()
        await put_back(own_postgres, copy)
        await stack.start_worker()
        request = await stack.wait_for(known["id"], "rejected", "needs_attention", within=30.0)
        async with stack.http.get(f"{stack.url}/v1/release-requests/{unknown['id']}") as response:
            lost = response.status

        assert len(packages) == 2
        assert await stack.emulator.packages() == packages
        assert (await stack.emulator.ledger())["duplicates"] == []
        assert request["items"][0]["release_package_id"] is None
        assert request["items"][0]["error"] is not None
        assert lost == 404


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
