"""The command that runs everything on one machine."""

import re
import signal
import socket
from pathlib import Path

import aiohttp

from tests.conftest import StartService


async def test_up_prints_what_works_and_stops_at_ctrl_c(start_service: StartService, tmp_path: Path) -> None:
    """The printed key opens the printed address; SIGINT stops everything; the keys stay, for their owner only."""
    arguments = ("up", "--data", str(tmp_path / "data"), "--port", "0")
    keys = []
    sdk_environment: list[str] = []
    for _ in range(2):
        up = start_service(*arguments)
        url = (await up.wait_for_line(r"^  API +(http\S+)$", within=40.0)).group(1)
        keys.append((await up.wait_for_line(r"^  API key +(rel_\S+)$")).group(1))
        missing = f"{url}/v1/release-requests/01a20c84-4d86-70f7-961a-3b09c213ee81"
        async with aiohttp.request(
            "GET", missing, headers={"Authorization": f"Bearer {keys[-1]}"}
        ) as response:
            status = response.status
        sdk_environment.append((tmp_path / "data" / "sdk.env").read_text())
        up.send(signal.SIGINT)

        assert status == 404
        assert f"HUAWEICLOUD_SDK_REGION_DATAARTSSTUDIO_CN_NORTH_4={url}\n" in sdk_environment[-1]
        assert await up.wait(within=20.0) == 0
    assert keys[0] == keys[1]
    assert sdk_environment[0].splitlines()[:4] == sdk_environment[1].splitlines()[:4]
    for name in ("api-key", "secret-key", "sdk.env"):
        assert re.fullmatch(r"[0-7]*600", oct((tmp_path / "data" / name).stat().st_mode)[-3:])


async def test_a_port_that_is_taken_is_one_sentence(start_service: StartService, tmp_path: Path) -> None:
    """Nothing is started, and the sentence names the option and the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up = start_service("up", "--data", str(tmp_path / "data"), "--port", str(port))
        code = await up.wait(within=10.0)

    assert code == 2
    assert up.stderr == f"batch-release: --port: expected a free port; {port}: Address already in use\n"
