"""Completion in a real shell."""

import asyncio
import os
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.nursery import REPOSITORY

PROGRAM = f"""#!/bin/sh
PYTHONPATH={shlex.quote(str(REPOSITORY))} exec {shlex.quote(sys.executable)} -c \\
  'from service.cli import main; main(prog_name="batch-release")' "$@"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not there")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("batch-release resu", "resume"),
        ("batch-release submit --approver-i", "--approver-id --approver-ids"),
        ("batch-release list --state re", "releasing released rejected"),
        ("batch-release operations a", "abort"),
    ],
)
async def test_bash_completes_commands_options_and_values(tmp_path: Path, words: str, expected: str) -> None:
    """The lines that `completion bash` prints make bash know them all."""
    program = tmp_path / "batch-release"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    script = f"""
        eval "$(batch-release completion bash)"
        COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _batch_release_completion batch-release
        echo "${{COMPREPLY[@]}}"
    """
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", script),
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    output, _ = await process.communicate()

    assert output.decode().strip() == expected
