"""The document and the service agree, by a tool that makes requests of the document alone."""

import asyncio
import sys
from pathlib import Path

import pytest

from service.commands.keys import create_api_key
from service.core.key_orders import KeyOrder
from tests.facade.conftest import stack_with as facade_stack_with
from tests.main_job.conftest import StackWith
from tests.support.nursery import REPOSITORY

stack_with = facade_stack_with
_EXAMPLES = "12"


@pytest.mark.long
async def test_the_service_does_what_its_document_says(
    stack_with: StackWith, database_url: str, tmp_path: Path
) -> None:
    """Generated requests, good and bad, alone and one after the other, get the answers that are described."""
    async with stack_with(RELEASE_FACADE_WAIT_SECONDS="0.5") as stack:
        await stack.start_api()
        await stack.start_worker()
        order = KeyOrder(name="fuzz", scopes=["admin"], workspaces=["*"])
        key = (await create_api_key(database_url, order)).api_key
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).parent / "schemathesis"),
            "--config-file",
            str(REPOSITORY / "schemathesis.toml"),
            "run",
            f"{stack.url}/openapi.json",
            "--header",
            f"Authorization: Bearer {key}",
            "--max-examples",
            _EXAMPLES,
            "--generation-deterministic",
            "--no-color",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=tmp_path,
        )
        output, _ = await process.communicate()

        assert process.returncode == 0, output.decode()[-20_000:]
