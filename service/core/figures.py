"""The catalogue of the figures that a process shows to Prometheus: each name, kind and meaning is said once, here.

Units are in the names. A figure of the process counts what this process has seen since its start; a figure of the whole
is read from PostgreSQL or Redis for the scrape, and so is the same from every process.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How a figure moves."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Figure:
    """One name in the answer to a scrape."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    #: Upper bounds of a histogram, in its unit.
    bounds: tuple[float, ...] = ()


_UP_TO_A_MINUTE = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_UP_TO_A_DAY = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 86400.0)
_POWERS_OF_TWO = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
_OF_A_BATCH = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)

# Of the process: requests.
ACCEPTED = Figure("release_accepted_total", Kind.COUNTER, "release requests accepted, each once")
DUPLICATES_PREVENTED = Figure(
    "release_duplicates_prevented_total",
    Kind.COUNTER,
    "requests that came again under their key, requests with an item that another request held, and calls in doubt "
    "whose package was found: each would have been one more release",
)
FINISHED = Figure("release_finished_total", Kind.COUNTER, "release requests that ended, by how", ("state",))
WAIT_SECONDS = Figure(
    "release_wait_seconds",
    Kind.HISTOGRAM,
    "from the acceptance of a release request to its end",
    bounds=_UP_TO_A_DAY,
)
COMMIT_GROUP_SIZE = Figure(
    "release_commit_group_size",
    Kind.HISTOGRAM,
    "release requests written by one commit",
    bounds=_POWERS_OF_TWO,
)

# Of the process: batches and calls.
BATCH_ITEMS = Figure(
    "release_batch_items", Kind.HISTOGRAM, "items of a batch when it was sealed", bounds=_OF_A_BATCH
)
VENDOR_CALLS = Figure(
    "release_vendor_calls_total",
    Kind.COUNTER,
    "calls of the vendor, by what came of them; `not_sent` was not written or not executed",
    ("operation", "outcome"),
)
VENDOR_CALL_SECONDS = Figure(
    "release_vendor_call_seconds",
    Kind.HISTOGRAM,
    "how long calls of the vendor took, with the wait for the limiter's last word",
    ("operation",),
    bounds=_UP_TO_A_MINUTE,
)
THROTTLED = Figure("release_throttled_total", Kind.COUNTER, "calls that the vendor answered with 429")
PERMITS_REFUSED = Figure(
    "release_permits_refused_total",
    Kind.COUNTER,
    "times the limiter had no permit for a batch, by why; the batch waits and asks again",
    ("reason",),
)
RECONCILED = Figure(
    "release_reconciled_total",
    Kind.COUNTER,
    "doubts that the vendor's lists ended, by what they led to",
    ("result",),
)
SWEEP_REPAIRS = Figure(
    "release_sweep_repairs_total",
    Kind.COUNTER,
    "what the sweep set going again: keys that it rang for, batches of lost workers, items past their deadline",
    ("kind",),
)
AUDIT_VIOLATIONS = Figure(
    "release_audit_violations",
    Kind.GAUGE,
    "rows that broke a rule when this worker last audited; missing before its first audit",
    ("rule",),
)

# Of the process: itself.
HTTP_REQUESTS = Figure(
    "release_http_requests_total", Kind.COUNTER, "HTTP requests answered", ("method", "route", "status")
)
HTTP_REQUEST_SECONDS = Figure(
    "release_http_request_seconds",
    Kind.HISTOGRAM,
    "how long HTTP requests took to answer; those that ask to wait are long on purpose",
    ("route",),
    bounds=_UP_TO_A_MINUTE,
)
CALLERS_WAITING = Figure(
    "release_callers_waiting", Kind.GAUGE, "callers and streams that wait for a request to move on"
)
EVENT_LOOP_LAG_SECONDS = Figure(
    "release_event_loop_lag_seconds",
    Kind.GAUGE,
    "the longest that the event loop kept a timer waiting in the last 15 to 30 s",
)
DATABASE_CONNECTIONS = Figure(
    "release_database_connections",
    Kind.GAUGE,
    "connections of the pool to PostgreSQL: `used`, `idle`, and `limit`, the most that it opens",
    ("state",),
)
BUILD_INFO = Figure("release_build_info", Kind.GAUGE, "1, with the versions as labels", ("version", "python"))

# Of the whole: read for the scrape.
DATABASE_UP = Figure(
    "release_database_up", Kind.GAUGE, "whether PostgreSQL answers this process within a second"
)
REDIS_UP = Figure("release_redis_up", Kind.GAUGE, "whether Redis answers this process within a second")
FIGURES_AGE_SECONDS = Figure(
    "release_figures_age_seconds",
    Kind.GAUGE,
    "how old the figures are that were counted in PostgreSQL",
    ("part",),
)
REQUESTS = Figure("release_requests", Kind.GAUGE, "release requests in the database", ("state",))
WAITING_ITEMS = Figure(
    "release_waiting_items", Kind.GAUGE, "items that wait to be put into a batch", ("workspace",)
)
OLDEST_WAITING_SECONDS = Figure(
    "release_oldest_waiting_seconds",
    Kind.GAUGE,
    "for how long the first of these items could have been sent",
    ("workspace",),
)
CALLS_UNDER_WAY = Figure(
    "release_calls_under_way", Kind.GAUGE, "batches whose call is under way, over all workers"
)
IN_DOUBT = Figure("release_in_doubt", Kind.GAUGE, "batches whose call is in doubt")
IN_DOUBT_OLDEST_SECONDS = Figure(
    "release_in_doubt_oldest_seconds",
    Kind.GAUGE,
    "for how long the first of these batches has been; 0 with none",
)
IN_DOUBT_BUDGET_SECONDS = Figure(
    "release_in_doubt_budget_seconds", Kind.GAUGE, "how long a doubt may last by the settings of this process"
)
NEEDS_ATTENTION = Figure(
    "release_needs_attention", Kind.GAUGE, "batches that wait for an operator's decision"
)
BREAKER_OPEN = Figure(
    "release_breaker_open", Kind.GAUGE, "breakers that are open, of workspaces and credentials"
)
WORKSPACES_PAUSED = Figure("release_workspaces_paused", Kind.GAUGE, "workspaces that an operator has paused")
SCHEMA_VERSION = Figure(
    "release_schema_version", Kind.GAUGE, "the number of the last migration that was applied"
)
DOORBELLS_WAITING = Figure(
    "release_doorbells_waiting", Kind.GAUGE, "doorbells in Redis, also those not due yet"
)
QUEUE_JOBS = Figure("release_queue_jobs", Kind.GAUGE, "jobs of the queue door that no worker has finished")
VENDOR_RATE_LIMIT = Figure(
    "release_vendor_rate_limit", Kind.GAUGE, "calls a second that `RELEASE_VENDOR_RATE` allows; 0 is no limit"
)
VENDOR_CONCURRENCY_LIMIT = Figure(
    "release_vendor_concurrency_limit",
    Kind.GAUGE,
    "calls at once that `RELEASE_VENDOR_CONCURRENCY` allows over all workers",
)

#: In the order of the documentation.
OF_THE_PROCESS = (
    ACCEPTED,
    DUPLICATES_PREVENTED,
    FINISHED,
    WAIT_SECONDS,
    COMMIT_GROUP_SIZE,
    BATCH_ITEMS,
    VENDOR_CALLS,
    VENDOR_CALL_SECONDS,
    THROTTLED,
    PERMITS_REFUSED,
    RECONCILED,
    SWEEP_REPAIRS,
    AUDIT_VIOLATIONS,
    HTTP_REQUESTS,
    HTTP_REQUEST_SECONDS,
    CALLERS_WAITING,
    EVENT_LOOP_LAG_SECONDS,
    DATABASE_CONNECTIONS,
    BUILD_INFO,
)
OF_THE_WHOLE = (
    DATABASE_UP,
    REDIS_UP,
    FIGURES_AGE_SECONDS,
    REQUESTS,
    WAITING_ITEMS,
    OLDEST_WAITING_SECONDS,
    CALLS_UNDER_WAY,
    IN_DOUBT,
    IN_DOUBT_OLDEST_SECONDS,
    IN_DOUBT_BUDGET_SECONDS,
    NEEDS_ATTENTION,
    BREAKER_OPEN,
    WORKSPACES_PAUSED,
    SCHEMA_VERSION,
    DOORBELLS_WAITING,
    QUEUE_JOBS,
    VENDOR_RATE_LIMIT,
    VENDOR_CONCURRENCY_LIMIT,
)
