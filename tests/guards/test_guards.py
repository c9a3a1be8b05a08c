"""Takes each guard of the promise out of a copy of the sources, and expects a test of the suite to be red."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.guards.mutations import MUTATIONS, Mutation
from tests.support.servers import Databases

REPOSITORY = Path(__file__).resolve().parents[2]
COPIED = ("service", "migrations", "tests", "pyproject.toml")
#: What pytest exits with when tests ran and some failed.
SOME_FAILED = 1


#: All, where somebody has the time; else those whose tests are quick to see it.
TRIED = [mutation for mutation in MUTATIONS if not mutation.is_slow or "RELEASE_ALL_GUARDS" in os.environ]


@pytest.mark.parametrize("mutation", TRIED, ids=lambda mutation: mutation.guard)
async def test_the_suite_sees_a_guard_that_is_gone(
    mutation: Mutation, tmp_path: Path, databases: Databases
) -> None:
    """With the guard the named test is green, as the suite shows; without it, it is red."""
    for name in COPIED:
        copy(REPOSITORY / name, tmp_path / name)
    take_out(mutation, tmp_path)
    code, output = await run_test(mutation.test, tmp_path, databases)

    assert code == SOME_FAILED, output
    assert f"\nFAILED {mutation.test}" in output


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def take_out(mutation: Mutation, root: Path) -> None:
    path = root / mutation.file
    text = path.read_text()
    assert text.count(mutation.old) == 1, f"{mutation.file} no longer has this guard, or has it twice"
    path.write_text(text.replace(mutation.old, mutation.new))


async def run_test(test: str, root: Path, databases: Databases) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", "-x", "-rf", "--timeout=60", "-p", "no:cacheprovider",
        "-p", "no:schemathesis", "--no-header", test,
        cwd=root,
        env={**os.environ, "RELEASE_TEST_DATABASE_URL": databases.url("postgres")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode, output.decode(errors="replace")
