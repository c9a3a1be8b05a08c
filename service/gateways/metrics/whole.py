"""The figures of the whole, as Prometheus' families."""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric

from service.core import figures
from service.core.figures import Figure
from service.core.gauges import Backlog, Gauges, WaitingPlace, Whole
from service.core.model import RequestState

#: Names all workspaces together that have no name here.
OTHER = "other"


def families_of(whole: Whole) -> Iterator[Metric]:
    """Return the families; those of which nothing is known are left out, for 0 would be a lie."""
    yield _one(figures.DATABASE_UP, whole.is_database_up)
    yield _one(figures.REDIS_UP, whole.backlog is not None)
    yield _one(figures.IN_DOUBT_BUDGET_SECONDS, whole.doubt_budget.total_seconds())
    yield _one(figures.VENDOR_RATE_LIMIT, whole.rate_limit)
    yield _one(figures.VENDOR_CONCURRENCY_LIMIT, whole.concurrency_limit)
    if whole.backlog is not None:
        yield from _of_redis(whole.backlog)
    if whole.gauges is not None:
        yield from _of_database(whole.gauges.value)
    if whole.requests is not None:
        yield _of_requests(whole.requests.value)
    yield _ages_of(whole)


def _of_redis(backlog: Backlog) -> Iterator[Metric]:
    yield _one(figures.DOORBELLS_WAITING, backlog.doorbells)
    yield _one(figures.QUEUE_JOBS, backlog.jobs)


def _of_database(gauges: Gauges) -> Iterator[Metric]:
    places = by_name(gauges.waiting)
    yield _many(figures.WAITING_ITEMS, {name: place.items for name, place in places.items()})
    yield _many(
        figures.OLDEST_WAITING_SECONDS, {name: place.oldest_seconds for name, place in places.items()}
    )
    yield _one(figures.CALLS_UNDER_WAY, gauges.calls_under_way)
    yield _one(figures.IN_DOUBT, gauges.in_doubt)
    yield _one(figures.IN_DOUBT_OLDEST_SECONDS, gauges.in_doubt_oldest_seconds)
    yield _one(figures.NEEDS_ATTENTION, gauges.needs_attention)
    yield _one(figures.BREAKER_OPEN, gauges.breakers_open)
    yield _one(figures.WORKSPACES_PAUSED, gauges.workspaces_paused)
    yield _one(figures.SCHEMA_VERSION, gauges.schema_version)


def by_name(places: Iterable[WaitingPlace]) -> dict[str, WaitingPlace]:
    """Put the places under their labels; there is always one for the rest, so that no series begins with a problem."""
    named = {OTHER: WaitingPlace(workspace=None, items=0, oldest_seconds=0.0)}
    for place in places:
        name = place.workspace or OTHER
        known = named.get(name, place)
        items = place.items if known is place else known.items + place.items
        oldest = max(known.oldest_seconds, place.oldest_seconds)
        named[name] = WaitingPlace(workspace=place.workspace, items=items, oldest_seconds=oldest)
    return named


def _of_requests(requests: Mapping[str, int]) -> Metric:
    return _many(figures.REQUESTS, {state: requests.get(state, 0) for state in RequestState})


def _ages_of(whole: Whole) -> Metric:
    parts = {"waiting": whole.gauges, "requests": whole.requests}
    ages = {part: counted.age_seconds for part, counted in parts.items() if counted is not None}
    return _many(figures.FIGURES_AGE_SECONDS, ages)


def _one(figure: Figure, value: float) -> Metric:
    return GaugeMetricFamily(figure.name, figure.meaning, value=float(value))


def _many(figure: Figure, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(figure.name, figure.meaning, labels=figure.labels)
    for label, value in values.items():
        family.add_metric([str(label)], float(value))
    return family
