"""The benchmark, run once with next to nothing to do."""

import asyncio
import json
import os
import sys
from pathlib import Path

from bench.load.goals import Goal
from bench.load.scenarios import scenarios
from bench.load.wire import Cutter
from bench.load.work import Work, bodies
from tests.support.nursery import REPOSITORY

REQUESTS = 20


async def test_a_tiny_round_has_every_target_and_loses_nothing(tmp_path: Path) -> None:
    """The page has a row for each target, and the JSON says that all work was done, once."""
    words = ["--rounds", "1", "--requests", str(REQUESTS), "--scenario", "edge", "--scenario", "cap"]
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.load",
        *words,
        "--out",
        str(tmp_path),
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=asyncio.subprocess.PIPE,
    )
    page, _ = await child.communicate()
    trials = json.loads((tmp_path / "bench.json").read_text())["trials"]
    run = [each for each in scenarios(REQUESTS) if each.name in {"edge", "cap"}]

    assert child.returncode == 0
    assert all(f"| {target.title} |" in page.decode() for each in run for target in each.targets)
    assert [(each["scenario"], each["target"]) for each in trials] == [
        (each.name, target.name) for each in run for target in each.targets
    ]
    assert {trial["figures"]["accepted"] for trial in trials} == {REQUESTS}
    done = [trial["figures"] for trial in trials if trial["scenario"] == "cap"]
    assert {(each["released"], each["lost"], each["duplicates"]) for each in done} == {(REQUESTS, 0, 0)}
    assert "</svg>" in (tmp_path / "bench.svg").read_text()


def test_the_work_is_the_same_each_time_and_has_no_item_twice() -> None:
    """Two processes that are told of the same work have the same requests."""
    work = Work(requests=1_000)
    items = [item for body in bodies(work) for item in body["pending_item_list"]]

    assert bodies(work) == bodies(work)
    assert len(items) == len(set(items))
    assert len({body["workspace"] for body in bodies(work)}) == 20


def test_a_message_is_cut_out_wherever_the_bytes_were_parted() -> None:
    """Head and body are found, byte by byte or at once."""
    message = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}"
    cutter = Cutter()
    found = [cutter.feed(message[index : index + 1]) for index in range(len(message))]

    assert found[:-1] == [None] * (len(message) - 1)
    assert found[-1] is not None
    assert found[-1] == Cutter().feed(message)
    assert found[-1].body == b"{}"


def test_a_goal_says_what_was_reached() -> None:
    """More is better for a floor, less for a ceiling."""
    floor = Goal(title="-", read=lambda _: None, must=0.6, aim=0.8, is_floor=True)
    ceiling = Goal(title="-", read=lambda _: None, must=4, aim=3)

    assert [floor.verdict(each) for each in (0.5, 0.7, 0.9)] == ["missed", "must", "aim"]
    assert [ceiling.verdict(each) for each in (5, 3.5, 2)] == ["missed", "must", "aim"]
