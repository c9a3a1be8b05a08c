"""Takes each guard of the promise out of a copy of the sources, and expects a test of the suite to be red."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.guards.mutations import MUTATIONS, Mutation
from tests.support.servers import Databases, server_directory

REPOSITORY = Path(__file__).resolve().parents[2]
COPIED = ("service", "migrations", "tests", "pyproject.toml")
#: The others take longer to load than most of the tests take.
PLUGINS = ("-p", "asyncio", "-p", "timeout", "-p", "no:cacheprovider")
#: What pytest exits with when tests ran and some failed.
SOME_FAILED = 1


#: All, where somebody has the time; else those whose tests are quick to see it.
TRIED = [mutation for mutation in MUTATIONS if not mutation.is_slow or "RELEASE_ALL_GUARDS" in os.environ]


@pytest.mark.parametrize("mutation", TRIED, ids=lambda mutation: mutation.guard)
async def test_the_suite_sees_a_guard_that_is_gone(mutation: Mutation, databases: Databases) -> None:
    """With the guard the named test is green, as the suite shows; without it, it is red."""
    with server_directory() as root:
        for name in COPIED:
            copy(REPOSITORY / name, root / name)
        take_out(mutation, root)
        code, output = await run_test(mutation.test, root, databases)

    assert code == SOME_FAILED, output
    assert f"\nFAILED {mutation.test}" in output


def copy(source: Path, target: Path) -> None:
    """Copy with what Python has compiled, which holds for files as old and long; but nothing half written of it."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.pyc.*"))
    else:
        shutil.copy(source, target)


def take_out(mutation: Mutation, root: Path) -> None:
    path = root / mutation.file
    text = path.read_text()
    assert text.count(mutation.old) == 1, f"{mutation.file} no longer has this guard, or has it twice"
    path.write_text(text.replace(mutation.old, mutation.new))


async def run_test(test: str, root: Path, databases: Databases) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", "-x", "-rf", "--timeout=60", *PLUGINS, "--no-header", test,
        cwd=root,
        env={
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "RELEASE_TEST_DATABASE_URL": databases.url("postgres"),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode, output.decode(errors="replace")
