"""docs/client.md: its programs do what it says, and its table has every call."""

import asyncio
import inspect
import sys

from service.client.release_client import ReleaseClient
from tests.docs.conftest import RunningUp
from tests.docs.examples import shell
from tests.docs.markdown import REPOSITORY, Page

PAGE = Page.read("docs/client.md")


async def printed_by(program: str, up: RunningUp) -> str:
    """Run a program with what the page sets, and return what it prints."""
    (setting,) = PAGE.blocks_of("sh")
    script = (
        setting.replace("http://127.0.0.1:8080", up.url) + 'printf "%s %s" "$RELEASE_URL" "$RELEASE_API_KEY"'
    )
    url, key = shell(script, directory=up.directory).split()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
        env={"RELEASE_URL": url, "RELEASE_API_KEY": key},
    )
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    return output.decode()


async def test_the_programs_print_what_is_said(up: RunningUp) -> None:
    """The one gets two items released, the other finds the request."""
    first, second = PAGE.blocks_of("python")
    submitted = await printed_by(first, up)
    listed = await printed_by(second, up)

    assert f"It prints `{submitted.strip()}`." in PAGE.text
    assert listed.startswith("released {} /v1/release-requests/")
    assert listed.count("\n") == 1


def test_every_call_is_in_the_table_with_its_arguments() -> None:
    """The table has all methods of the client, in the order of their definition, and no other."""
    rows = PAGE.section("Calls").rows()
    methods = {
        name: method
        for kind in (*reversed(ReleaseClient.__bases__), ReleaseClient)
        for name, method in vars(kind).items()
        if inspect.isfunction(method) and not name.startswith("_") and name != "close"
    }
    expected = {
        name: {
            parameter.name
            for parameter in inspect.signature(method).parameters.values()
            if parameter.name != "self"
        }
        for name, method in methods.items()
    }
    written = {
        name: {argument.strip("* ") for argument in arguments.rstrip(")").split(",") if argument}
        for name, _, arguments in (call.partition("(") for call, _ in rows)
    }

    assert expected.keys() == written.keys()
    for name, arguments in expected.items():
        ids = {argument for argument in arguments if argument.endswith("_id") and argument != "project_id"}
        given = {"id" if argument in ids and "id" in written[name] else argument for argument in arguments}
        assert given == written[name], name
