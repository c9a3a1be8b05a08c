"""Turns what a trial saw into figures."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.load.generator import Sent
from bench.load.meter import Usage

UsageByPart = Mapping[str, Sequence[Usage]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures of one trial. CPU is in seconds for 1,000 accepted requests."""

    accepted: int
    refused: int
    accepted_per_second: float
    accept_p50_ms: float
    accept_p99_ms: float
    generator_cpu: float
    intake_cpu: float
    worker_cpu: float
    postgres_cpu: float
    redis_cpu: float
    vendor_cpu: float
    intake_mib: float
    worker_mib: float
    done: int
    #: None where the work did not get done.
    seconds: float | None
    done_per_second: float | None
    calls_per_1000: float
    throttled: int
    duplicates: int
    #: Items that the vendor never got.
    lost: int
    result_p50_ms: float | None
    result_p99_ms: float | None


def figures_of(
    *,
    sent: Sent,
    done_at: float | None,
    done: int,
    asked_items: int,
    vendor: Mapping[str, Any],
    usage: tuple[UsageByPart, UsageByPart],
    results: Mapping[str, float],
) -> Figures:
    """Count and divide."""
    thousands = max(sent.accepted, 1) / 1_000
    seconds = None if done_at is None else done_at - sent.started_at
    cpu = {part: _cpu(usage, part) / thousands for part in usage[0]}
    waits = sorted(
        1_000 * (results[each.request_id] - each.answered_at)
        for each in sent.exchanges
        if each.request_id in results
    )
    return Figures(
        accepted=sent.accepted,
        refused=sum(sent.refused.values()),
        accepted_per_second=sent.accepted / (sent.ended_at - sent.started_at),
        accept_p50_ms=percentile(sent.latencies_ms, 50),
        accept_p99_ms=percentile(sent.latencies_ms, 99),
        generator_cpu=sent.cpu_seconds / thousands,
        intake_cpu=cpu["intake"],
        worker_cpu=cpu["worker"],
        postgres_cpu=cpu["postgres"],
        redis_cpu=cpu["redis"],
        vendor_cpu=cpu["vendor"],
        intake_mib=_largest(usage[1]["intake"]),
        worker_mib=_largest(usage[1]["worker"]),
        done=done,
        seconds=seconds,
        done_per_second=None if seconds is None or not done else done / seconds,
        calls_per_1000=vendor["calls"] / thousands,
        throttled=vendor["throttled"],
        duplicates=vendor["duplicates"],
        lost=asked_items - vendor["items"],
        result_p50_ms=percentile(waits, 50) if waits else None,
        result_p99_ms=percentile(waits, 99) if waits else None,
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
