"""Turns what a trial saw into figures."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.load.meter import Usage
from bench.load.orders import Sent

UsageByPart = Mapping[str, Sequence[Usage]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen of one trial."""

    load: float
    sent: Sent
    #: None where the work did not get done.
    done_at: float | None
    #: Requests with a result in Postgres, and with a good one.
    finished: int
    released: int
    asked_items: int
    vendor: Mapping[str, float]
    usage: tuple[UsageByPart, UsageByPart]
    #: When each request had its result, in seconds since 1970.
    results: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures of one trial. CPU is in seconds for 1,000 accepted requests."""

    #: Of the machine in the minute before.
    load: float
    accepted: int
    refused: int
    accepted_per_second: float
    accept_p50_ms: float
    accept_p99_ms: float
    generator_cpu: float
    intake_cpu: float
    worker_cpu: float
    #: None of servers that are not ours.
    postgres_cpu: float | None
    redis_cpu: float | None
    vendor_cpu: float
    intake_mib: float
    worker_mib: float
    seconds: float | None
    released: int
    #: Refused or failed for good.
    failed: int
    #: Without a result when nobody waited any longer.
    undone: int
    done_per_second: float | None
    calls_per_1000: float
    throttled: int
    #: Items that the vendor got again.
    duplicates: int
    #: Items of accepted requests that the vendor never got.
    lost: int
    result_p50_ms: float | None
    result_p99_ms: float | None

    @property
    def own_cpu(self) -> float:
        """What the target's own processes used, without the servers."""
        return self.intake_cpu + self.worker_cpu


def figures_of(seen: Seen) -> Figures:
    """Count and divide."""
    sent, vendor = seen.sent, seen.vendor
    thousands = max(sent.accepted, 1) / 1_000
    seconds = None if seen.done_at is None else seen.done_at - sent.started_at
    cpu = {part: _cpu(seen.usage, part) / thousands for part in seen.usage[0]}
    waits = _waits(seen)
    return Figures(
        load=seen.load,
        accepted=sent.accepted,
        refused=sum(sent.refused.values()),
        accepted_per_second=sent.accepted / (sent.ended_at - sent.started_at),
        accept_p50_ms=percentile(sent.latencies_ms, 50),
        accept_p99_ms=percentile(sent.latencies_ms, 99),
        generator_cpu=sent.cpu_seconds / thousands,
        intake_cpu=cpu["intake"],
        worker_cpu=cpu["worker"],
        postgres_cpu=cpu["postgres"] if seen.usage[0]["postgres"] else None,
        redis_cpu=cpu["redis"] if seen.usage[0]["redis"] else None,
        vendor_cpu=cpu["vendor"],
        intake_mib=_largest(seen.usage[1]["intake"]),
        worker_mib=_largest(seen.usage[1]["worker"]),
        seconds=seconds,
        released=seen.released,
        failed=seen.finished - seen.released,
        undone=sent.accepted - seen.finished,
        done_per_second=seen.released / seconds if seconds and seen.released else None,
        calls_per_1000=vendor["calls"] / thousands,
        throttled=int(vendor["throttled"]),
        duplicates=int(vendor["duplicates"]),
        lost=seen.asked_items - int(vendor["items"]),
        result_p50_ms=percentile(waits, 50) if waits else None,
        result_p99_ms=percentile(waits, 99) if waits else None,
    )


def _waits(seen: Seen) -> list[float]:
    """Return how long each request waited for its result after its answer, in milliseconds."""
    return sorted(
        1_000 * (seen.results[each.request_id] - each.answered_at)
        for each in seen.sent.exchanges
        if each.request_id in seen.results
    )


def percentile(ordered: Sequence[float], percent: int) -> float:
    """Return a percentile of sorted numbers."""
    if len(ordered) < 2:  # noqa: PLR2004 - quantiles need two
        return ordered[0] if ordered else 0.0
    return statistics.quantiles(ordered, n=100, method="inclusive")[percent - 1]


def _cpu(usage: tuple[UsageByPart, UsageByPart], part: str) -> float:
    before, after = (sum(each.cpu_seconds for each in moment[part]) for moment in usage)
    return after - before


def _largest(usages: Sequence[Usage]) -> float:
    return max((each.resident_mib for each in usages), default=0.0)
