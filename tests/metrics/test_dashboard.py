"""The shipped dashboard and alerts, asked of a real Prometheus that scrapes a real service under load."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from service.core import figures
from tests.main_job.conftest import StackWith
from tests.main_job.test_reconcile import QUICK
from tests.metrics.prometheus import Prometheus, running_prometheus
from tests.metrics.test_alerts import rules
from tests.support.nursery import REPOSITORY
from tests.support.stack import Stack, body, free_port, many_bodies
from tests.support.waiting import eventually

DASHBOARDS = sorted((REPOSITORY / "deploy" / "grafana").glob("*.json"))
SETTINGS = {"RELEASE_AUDIT_SECONDS": "1", "RELEASE_VENDOR_RATE": "100", **QUICK}
#: What a range vector looks back, in place of Grafana's own choice.
WINDOW = "20s"
RULES = [
    {"fault": "429", "count": 2, "retry_after": "1"},
    {"fault": "drop_after", "count": 1, "item": "900"},
]


def panels() -> Iterator[dict[str, Any]]:
    for path in DASHBOARDS:
        yield from json.loads(path.read_text(encoding="utf-8"))["panels"]


def queries() -> list[str]:
    """All queries of the dashboards, as Grafana would send them."""
    return [
        target["expr"].replace("$__rate_interval", WINDOW)
        for panel in panels()
        for target in panel.get("targets", ())
    ]


async def load(stack: Stack) -> None:
    """Have some of everything happen."""
    bodies = [*many_bodies(60), body("900", workspace="own-900"), body("901", workspace="own-901")]
    ids = await stack.submit_all(bodies, connections=8)
    for _ in range(2):
        await stack.submit(body("950"), **{"Idempotency-Key": "again"})
    await stack.wait_until_at_rest(ids)


async def unanswered(prometheus: Prometheus, expressions: list[str]) -> list[str]:
    """Return the queries without a series, or with one that is no number."""
    return [one for one in expressions if not is_answer(await prometheus.query(one))]


def is_answer(series: list[Any]) -> bool:
    return bool(series) and any(each["value"][1] != "NaN" for each in series)


async def test_every_query_of_the_dashboard_has_data(stack_with: StackWith, tmp_path: Path) -> None:
    """Each query of each panel has numbers; the figures of the alerts are there, and their rules are evaluated."""
    port = free_port()
    faults = {"rules": RULES, "poisoned_items": ["901"]}
    async with stack_with(faults, RELEASE_WORKER_HTTP_PORT=str(port), **SETTINGS) as stack:
        await stack.start_api()
        await stack.start_worker()
        api, worker = stack.url.removeprefix("http://"), f"127.0.0.1:{port}"
        async with running_prometheus(tmp_path, api=api, worker=worker) as prometheus:
            await eventually(lambda: both_up(prometheus), within=20.0, every=0.2)
            await load(stack)
            with suppress(AssertionError):
                await eventually(lambda: all_answered(prometheus, queries()), within=20.0, every=0.5)
            left = await unanswered(prometheus, queries())
            evaluated = [
                rule for group in (await prometheus.get("rules"))["groups"] for rule in group["rules"]
            ]
            names = await prometheus.get("label/__name__/values")

    assert left == []
    assert {rule["name"]: rule["health"] for rule in evaluated} == {rule["alert"]: "ok" for rule in rules()}
    assert [rule["name"] for rule in evaluated if rule.get("lastError")] == []
    assert figures_of(rule["expr"] for rule in rules()) <= set(names)


async def both_up(prometheus: Prometheus) -> bool:
    return len(await prometheus.query("up == 1")) == 2


async def all_answered(prometheus: Prometheus, expressions: list[str]) -> bool:
    return not await unanswered(prometheus, expressions)


def figures_of(expressions: Iterator[str]) -> set[str]:
    return {name for one in expressions for name in re.findall(r"\brelease_\w+", one)}


def test_the_dashboard_shows_only_what_there_is() -> None:
    """A panel or an alert that names a figure names one of the catalogue."""
    catalogue = {figure.name for figure in (*figures.OF_THE_PROCESS, *figures.OF_THE_WHOLE)}
    named = figures_of(iter([*queries(), *(rule["expr"] for rule in rules())]))
    stems = {re.sub(r"_(bucket|sum|count)$", "", name) for name in named}

    assert {name for name in stems if not name.startswith("release_process_")} <= catalogue
    assert len(named) > 30


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_the_dashboard_is_tidy(path: Path) -> None:
    """Panels have a title, a sentence, an id of their own, the chosen data source, and a place that no other has."""
    dashboard = json.loads(path.read_text(encoding="utf-8"))
    shown = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + column, place["y"] + line)
            for column in range(place["w"])
            for line in range(place["h"])
        }

        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    assert all(panel["title"] and panel["description"].endswith(".") for panel in shown)
    assert {panel["datasource"]["uid"] for panel in shown} == {"${datasource}"}
