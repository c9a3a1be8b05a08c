"""The figures of this process: counted where something happens, by methods that say what."""

import platform

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from service import __version__
from service.core import figures
from service.core.auditing import AuditReport
from service.core.figures import Figure
from service.core.model import RequestState, WaitReason

#: Why the limiter has no permit, but for what is settled before it is asked.
_LIMITS = (
    WaitReason.RATE,
    WaitReason.WORKSPACE_RATE,
    WaitReason.CONCURRENCY,
    WaitReason.BREAKER_OPEN,
    WaitReason.BACKOFF,
)


class Metrics:
    """Counts what this process does. A call costs about a microsecond; none waits or fails.

    Children of labels are looked up once and kept.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._accepted = self._counter(figures.ACCEPTED)
        self._duplicates = self._counter(figures.DUPLICATES_PREVENTED)
        finished = self._counter(figures.FINISHED)
        self._finished = {state: finished.labels(state) for state in RequestState if state.is_done}
        self._wait = self._histogram(figures.WAIT_SECONDS)
        self._group_size = self._histogram(figures.COMMIT_GROUP_SIZE)
        self._batch_items = self._histogram(figures.BATCH_ITEMS)
        self._refused = self._counter(figures.PERMITS_REFUSED)
        self._reconciled = self._counter(figures.RECONCILED)
        self._repairs = self._counter(figures.SWEEP_REPAIRS)
        self._violations = self._gauge(figures.AUDIT_VIOLATIONS)
        self._lag = self._gauge(figures.EVENT_LOOP_LAG_SECONDS)
        self._callers = self._gauge(figures.CALLERS_WAITING)
        self._connections = self._gauge(figures.DATABASE_CONNECTIONS)
        self._gauge(figures.BUILD_INFO).labels(version=__version__, python=platform.python_version()).set(1)
        self.vendor = VendorMetrics(self.registry)
        self.http = HttpMetrics(self.registry)
        self._begin_with_zero()
        ProcessCollector(namespace="release", registry=self.registry)

    def _begin_with_zero(self) -> None:
        """Make what may be counted there from the start: the first of it is an increase, not a beginning."""
        for reason in _LIMITS:
            self._refused.labels(reason.value)
        for result in ("found", "resent", "rejected", "failed", "needs_attention"):
            self._reconciled.labels(result)
        for kind in ("rung", "taken_over", "expired"):
            self._repairs.labels(kind)

    def count_accepted(self, *, shares_items: bool) -> None:
        """Count a request that is new; one that shares items has these not released a second time."""
        self._accepted.inc()
        if shares_items:
            self._duplicates.inc()

    def count_replayed(self) -> None:
        """Count a request that came again."""
        self._duplicates.inc()

    def count_ended(self, state: RequestState, *, seconds: float) -> None:
        """Count a request that has ended, so long after it was accepted."""
        self._finished[state].inc()
        self._wait.observe(max(seconds, 0.0))

    def count_commit(self, *, requests: int) -> None:
        """Count a commit of so many requests."""
        self._group_size.observe(requests)

    def count_sealed(self, *, items: int) -> None:
        """Count a batch that was sealed with so many items."""
        self._batch_items.observe(items)

    def count_refused_permit(self, reason: WaitReason) -> None:
        """Count a batch for which the limiter has no permit now."""
        self._refused.labels(reason.value).inc()

    def count_reconciled(self, result: str) -> None:
        """Count a doubt that has ended; where the package was found it is not made again."""
        self._reconciled.labels(result).inc()
        if result == "found":
            self._duplicates.inc()

    def count_repairs(self, *, rung: int, taken_over: int, expired: int) -> None:
        """Count what a sweep did."""
        for kind, count in (("rung", rung), ("taken_over", taken_over), ("expired", expired)):
            self._repairs.labels(kind).inc(count)

    def show_audit(self, report: AuditReport) -> None:
        """Show how many rows break each rule; before the first audit there is no figure, which is not 0."""
        for rule in report.rules:
            self._violations.labels(rule=rule.rule.value).set(rule.count)

    def show_lag(self, seconds: float) -> None:
        """Show the longest lag of the event loop of late."""
        self._lag.set(seconds)

    def show_process(self, *, callers_waiting: int, used: int, idle: int, limit: int) -> None:
        """Show who waits in this process, and its connections to PostgreSQL."""
        self._callers.set(callers_waiting)
        for state, count in (("used", used), ("idle", idle), ("limit", limit)):
            self._connections.labels(state).set(count)

    def _counter(self, figure: Figure) -> Counter:
        return Counter(figure.name, figure.meaning, figure.labels, registry=self.registry)

    def _gauge(self, figure: Figure) -> Gauge:
        return Gauge(figure.name, figure.meaning, figure.labels, registry=self.registry)

    def _histogram(self, figure: Figure) -> Histogram:
        return histogram(figure, self.registry)


def histogram(figure: Figure, registry: CollectorRegistry) -> Histogram:
    """Build a histogram of the catalogue."""
    return Histogram(figure.name, figure.meaning, figure.labels, buckets=figure.bounds, registry=registry)


class VendorMetrics:
    """Counts calls of the vendor."""

    def __init__(self, registry: CollectorRegistry) -> None:
        calls, throttled = figures.VENDOR_CALLS, figures.THROTTLED
        self._calls = Counter(calls.name, calls.meaning, calls.labels, registry=registry)
        self._seconds = histogram(figures.VENDOR_CALL_SECONDS, registry)
        self._throttled = Counter(throttled.name, throttled.meaning, registry=registry)

    def count_call(self, operation: str, outcome: str, *, seconds: float) -> None:
        """Count a call that has ended, with or without an answer."""
        self._calls.labels(operation, outcome).inc()
        self._seconds.labels(operation).observe(seconds)
        if outcome == "throttled":
            self._throttled.inc()


class HttpMetrics:
    """Counts HTTP requests. It is on the way of each, so nothing is looked up twice."""

    def __init__(self, registry: CollectorRegistry) -> None:
        requests = figures.HTTP_REQUESTS
        self._requests = Counter(requests.name, requests.meaning, requests.labels, registry=registry)
        self._seconds = histogram(figures.HTTP_REQUEST_SECONDS, registry)
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def count_request(self, method: str, route: str, status: int, *, seconds: float) -> None:
        """Count a request that was answered; method and route are of the service's few, not the caller's words."""
        key = method, route, status
        children = self._children.get(key)
        if children is None:
            children = self._requests.labels(method, route, str(status)), self._seconds.labels(route)
            self._children[key] = children
        children[0].inc()
        children[1].observe(seconds)
