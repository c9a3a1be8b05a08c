"""What a scrape shows whatever is away, and what it never shows."""

import asyncio
import time
from asyncio.subprocess import PIPE, STDOUT

from service.core import figures
from service.core.gauges import WaitingPlace
from service.core.ids import new_id
from service.embedded.postgres import EmbeddedPostgres
from service.embedded.valkey import EmbeddedValkey
from service.flow.accept_group import accept_group
from service.gateways.endings import Endings
from service.gateways.metrics.lag import watch_lag
from service.gateways.metrics.process import Metrics
from service.gateways.metrics.whole import by_name
from service.gateways.store.database import Database, PoolSize
from service.gateways.store.gauges import count_requests, read_gauges
from tests.metrics.conftest import StartReplica
from tests.metrics.prometheus import program
from tests.metrics.scraping import Scraped, scrape
from tests.support.api import Replica, running_replica
from tests.support.new_requests import a_request
from tests.support.servers import frozen
from tests.support.sql import fetch_value
from tests.support.stack import body
from tests.support.waiting import eventually

#: Made by the client library, of what the kernel says of the process.
OF_THE_KERNEL = "release_process_"
ENDINGS = ("_bucket", "_count", "_sum")


def known(name: str) -> bool:
    """Tell whether a sample is of the catalogue."""
    names = {figure.name for figure in (*figures.OF_THE_PROCESS, *figures.OF_THE_WHOLE)}
    stem = next((name.removesuffix(ending) for ending in ENDINGS if name.endswith(ending)), name)
    return bool({name, stem} & names) or name.startswith(OF_THE_KERNEL)


async def test_every_sample_is_of_the_catalogue(replica: Replica) -> None:
    """No name is shown that is not documented; counters do not show when they were made."""
    await replica.accept(body("1"))
    scraped = await scrape(replica.url)

    assert [name for name in scraped.names if not known(name)] == []


async def test_promtool_finds_nothing_to_mind(replica: Replica) -> None:
    """Names, units, kinds and help follow the conventions of Prometheus."""
    await replica.accept(body("1"))
    shown = await replica.get("/metrics")
    promtool = await asyncio.create_subprocess_exec(
        program("promtool"), "check", "metrics", stdin=PIPE, stdout=PIPE, stderr=STDOUT
    )
    said, _ = await promtool.communicate(shown.body)

    assert (promtool.returncode, said) == (0, b"")


async def test_openmetrics_is_spoken_where_it_is_asked_for(replica: Replica) -> None:
    """A Prometheus that prefers OpenMetrics gets it."""
    answer = await replica.get(
        "/metrics", Accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
    )

    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.body.endswith(b"# EOF\n")


async def test_those_who_ask_at_once_share_an_answer(replica: Replica) -> None:
    """However many ask at the same moment the figures are written once; who asks later gets newer ones."""
    bodies = {answer.body for answer in await asyncio.gather(*(replica.get("/metrics") for _ in range(20)))}
    await replica.accept(body("1"))
    await eventually(lambda: has_accepted(replica), within=5.0)

    assert len(bodies) == 1


async def has_accepted(replica: Replica) -> bool:
    return (await scrape(replica.url)).value("release_accepted_total") == 1


async def test_each_process_says_the_same_of_the_whole(start_replica: StartReplica) -> None:
    """Of two processes one has accepted everything, and both show it."""
    one, other = await start_replica(), await start_replica()
    for item in range(3):
        await one.accept(body(str(item)))
    shown = [await scrape(each.url) for each in (one, other)]

    assert [each.by("release_requests", "state") for each in shown] == [{"accepted": 3}] * 2
    assert [each.value("release_accepted_total") for each in shown] == [3, 0]


async def test_the_words_of_callers_are_no_labels(replica: Replica) -> None:
    """Paths and methods that are not served are counted together; ids and queries are not seen at all."""
    await replica.get("/v1/secret-of-a-caller?token=abc")
    await replica.ask("PATCH", "/another")
    await replica.get(f"/v1/release-requests/{new_id()}")
    scraped = await scrape(replica.url)
    routes = scraped.by("release_http_requests_total", "route")

    assert routes == {"none": 2, "/v1/release-requests/{id}": 1}
    assert set(scraped.by("release_http_requests_total", "method")) <= {"GET", "none"}


async def test_without_postgres_the_process_still_has_figures(
    own_database_url: str, own_postgres: EmbeddedPostgres, redis_url: str
) -> None:
    """While PostgreSQL is stopped, or frozen, a scrape is answered soon, says so, and makes no figures up."""
    settings = {"RELEASE_DATABASE_URL": own_database_url, "RELEASE_REDIS_URL": redis_url}
    async with running_replica(settings) as replica:
        await replica.accept(body("1"))
        before = await scrape(replica.url)
        with frozen(own_postgres.pid):
            began = time.monotonic()
            while_frozen = await when_away(replica)
            took = time.monotonic() - began
        await own_postgres.stop()
        while_stopped = await when_away(replica)
        await own_postgres.start()
        after = await eventually(lambda: with_figures(replica), within=20.0, every=0.2)

    assert before.by("release_requests", "state") == {"accepted": 1}
    assert took < 5.0
    for scraped in (while_frozen, while_stopped):
        assert scraped.value("release_database_up") == 0
        assert scraped.value("release_redis_up") == 1
        assert scraped.value("release_accepted_total") == 1
        assert (
            not {"release_requests", "release_needs_attention", "release_figures_age_seconds"} & scraped.names
        )
    assert after is not None


async def when_away(replica: Replica) -> Scraped:
    """Scrape until the answer is newer than the loss of PostgreSQL."""
    scraped: list[Scraped] = []

    async def is_away() -> bool:
        scraped.append(await scrape(replica.url))
        return scraped[-1].value("release_database_up") == 0

    await eventually(is_away, within=10.0)
    return scraped[-1]


async def with_figures(replica: Replica) -> bool:
    scraped = await scrape(replica.url)
    return "release_requests" in scraped.names and scraped.by("release_requests", "state") == {"accepted": 1}


async def test_without_redis_the_rest_is_shown(database_url: str, own_valkey: EmbeddedValkey) -> None:
    """With Redis stopped only what lies there is missing."""
    settings = {"RELEASE_DATABASE_URL": database_url, "RELEASE_REDIS_URL": own_valkey.url}
    async with running_replica(settings) as replica:
        await own_valkey.stop()
        scraped = await scrape(replica.url)

    assert scraped.value("release_redis_up") == 0
    assert scraped.value("release_database_up") == 1
    assert "release_requests" in scraped.names
    assert "release_doorbells_waiting" not in scraped.names


async def test_workspaces_are_named_up_to_a_number(database_url: str) -> None:
    """The workspaces with the most items and those with the oldest are named; the others are one row."""
    sizes = {"ws-a": 5, "ws-b": 4, "ws-c": 1, "ws-d": 1, "ws-e": 1}
    requests = [
        a_request(*(f"{workspace}-{item}" for item in range(size)), workspace=workspace)
        for workspace, size in sizes.items()
    ]
    database = await Database.open(database_url, PoolSize(smallest=1, largest=1))
    try:
        await database.transact(lambda connection: accept_group(connection, requests))
        await fetch_value(
            database_url,
            "UPDATE release_items SET due_from = now() - interval '1 hour' WHERE workspace = 'ws-e'",
        )
        gauges = await database.read_one_moment(lambda connection: read_gauges(connection, most_places=1))
        states = await database.read_one_moment(count_requests)
    finally:
        await database.close()

    assert {place.workspace: place.items for place in gauges.waiting} == {"ws-a": 5, "ws-e": 1, None: 6}
    assert states == {"accepted": 5, "released": 0}
    oldest = {place.workspace: place.oldest_seconds for place in gauges.waiting}
    assert 3_600 <= oldest["ws-e"] < 3_660
    assert oldest[None] < 60


def test_a_workspace_that_is_named_like_the_rest_is_of_the_rest() -> None:
    """No label is there twice, and the row of the rest always is."""
    other = WaitingPlace(workspace="other", items=2, oldest_seconds=5.0)
    rest = WaitingPlace(workspace=None, items=3, oldest_seconds=1.0)

    assert by_name([])["other"].items == 0
    assert [(p.items, p.oldest_seconds) for p in by_name([other, rest]).values()] == [(5, 5.0)]


async def test_an_end_that_is_told_twice_counts_once(database_url: str) -> None:
    """A request that ended during a look is told of again after it; only its next end is another one."""
    request = a_request("1")
    database = await Database.open(database_url, PoolSize(smallest=1, largest=1))
    metrics = Metrics()
    endings = Endings(database, metrics)
    counts = []
    try:
        await database.transact(lambda connection: accept_group(connection, [request]))
        for told, is_done in ((True, False), (True, True), (True, True), (False, True), (True, True)):
            if is_done:
                await fetch_value(database_url, END, request.request_id)
            if told:
                endings.note([request.request_id])
            await endings.count()
            counts.append(ended(metrics))
    finally:
        await database.close()

    assert counts == [0, 1, 1, 1, 2]


END = """
UPDATE release_requests SET state = 'cancelled', finished_at = coalesce(finished_at, now()) WHERE id = $1
"""


def ended(metrics: Metrics) -> float:
    return metrics.registry.get_sample_value("release_finished_total", {"state": "cancelled"}) or 0.0


async def test_a_loop_that_stood_still_shows() -> None:
    """What blocks the event loop for half a second shows as a lag of half a second."""
    metrics = Metrics()
    watching = asyncio.create_task(watch_lag(metrics))
    await asyncio.sleep(0)  # lets the watch begin
    until = time.monotonic() + 0.75
    while time.monotonic() < until:
        pass
    lag = await eventually(lambda: lag_of(metrics), within=2.0)
    watching.cancel()

    assert 0.4 < lag < 5.0


def lag_of(metrics: Metrics) -> float:
    return metrics.registry.get_sample_value("release_event_loop_lag_seconds") or 0.0
