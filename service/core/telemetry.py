"""The catalogue of log events: every line of ours has one of these names, in the past tense.

Fields are identifiers and figures, never whole objects. ``http_request_id`` and ``request_id`` (a release request)
are bound once by the door, ``batch_key``, ``batch_id``, ``workspace`` and ``attempt`` once by the worker's job.
A state change is ``info``; what an operator should look at is ``warning``; what is broken is ``error``.
"""

from enum import StrEnum


class LogEvent(StrEnum):
    """Names of events, with their fields."""

    #: process, version, and what it serves or works on
    PROCESS_STARTED = "process.started"
    #: process
    PROCESS_STOPPED = "process.stopped"
    #: process, reason
    PROCESS_FAILED = "process.failed"
    #: signal, running
    DRAIN_STARTED = "drain.started"
    #: waiting_for, reason
    START_DELAYED = "start.delayed"
    #: applied, waited_seconds
    SCHEMA_MIGRATED = "schema.migrated"

    #: http_method, http_path, http_status, duration_ms; debug, but warning when slow or failed: so many a second,
    #: and skipped says how many were left out
    HTTP_SERVED = "http.served"
    #: http_method, http_path, with the traceback
    HTTP_FAILED = "http.failed"
    #: connections, busy; once, until at most half of RELEASE_MAX_CONNECTIONS are open
    CONNECTIONS_FILLED = "connections.filled"

    #: access_key; RELEASE_SECRET_KEY does not open its secret, so its calls cannot be checked
    UNSEALING_FAILED = "unsealing.failed"
    #: request_id, reason; that its caller knows how a request ended could not be written; the same body gets that again
    TELLING_LOST = "telling.lost"
    #: method, path, workspace, status, vendor_code, vendor_message; a call that was passed on for a caller did not work
    FORWARD_FAILED = "forward.failed"
    #: action, packages, reason; what came of a call that changed packages could not be written into the audit trail
    AUDIT_ENTRY_LOST = "audit_entry.lost"

    #: reason; once for each pool of connections, until PostgreSQL is of use again
    DATABASE_LOST = "database.lost"
    #: pid; PostgreSQL waits for us while we wait for it, so the pool's connections are opened anew
    CONNECTION_DROPPED = "connection.dropped"
    #: with the traceback; whether a connection is silent could not be asked, for a fault of ours
    CONNECTION_UNCHECKED = "connection.unchecked"
    #: reason, try
    ACCEPT_RETRIED = "accept.retried"
    #: problem; the envelope came through the queue door
    ENVELOPE_REFUSED = "envelope.refused"
    #: with the traceback; an envelope that met a fault of ours
    ENVELOPE_FAILED = "envelope.failed"
    #: cap, project_id, workspace; once for each job, which stays on the queue until there is room
    ENVELOPE_POSTPONED = "envelope.postponed"

    #: keys, reason; the sweep rings again
    BELL_LOST = "bell.lost"
    #: queue, entry; something on the queue that no producer of ours can have put there
    ENTRY_DROPPED = "entry.dropped"
    #: reason; the worker builds its arq worker anew
    QUEUE_LOST = "queue.lost"
    #: batch_key, reason, with the traceback
    LOOK_FAILED = "look.failed"
    #: wait_reason, delay_seconds; debug
    PERMIT_REFUSED = "permit.refused"

    #: items, closed_by, package_name
    BATCH_SEALED = "batch.sealed"
    #: package_name
    BATCH_CLAIMED = "batch.claimed"
    #: items, release_package_id, duration_ms
    BATCH_RELEASED = "batch.released"
    #: vendor_code, vendor_message
    BATCH_REJECTED = "batch.rejected"
    #: outcome, delay_seconds, wait_reason, vendor_code
    BATCH_POSTPONED = "batch.postponed"
    #: reason, vendor_code
    BATCH_IN_DOUBT = "batch.in_doubt"
    #: vendor_code, vendor_message
    BATCH_FAILED = "batch.failed"
    #: rejected, parts; the vendor refused the batch as a whole
    BATCH_SPLIT = "batch.split"
    #: reason; the lease of a running call could not be extended; the next beat tries again
    HEARTBEAT_FAILED = "heartbeat.failed"
    #: the worker could not say that it lives; nothing but the console goes by it
    SIGN_FAILED = "sign.failed"
    #: outcome; the lease had been taken over, so nothing was written
    OUTCOME_FENCED = "outcome.fenced"

    #: release_package_id; the vendor's lists have the package of a call in doubt
    PACKAGE_FOUND = "package.found"
    #: the vendor's lists prove that a call in doubt had no effect; it may be made again
    ABSENCE_PROVED = "absence.proved"
    #: reason; an operator has to decide
    DOUBT_ESCALATED = "doubt.escalated"
    #: decision, actor; an operator has decided
    BATCH_RESOLVED = "batch.resolved"
    #: reason; the vendor's lists cannot be read at the moment
    READ_FAILED = "read.failed"
    #: reason
    RECONCILE_FAILED = "reconcile.failed"
    #: workspace, action, reason; an operator settled something for it
    WORKSPACE_CHANGED = "workspace.changed"
    #: scope (a workspace, or the credential), cause, reason, openings, pause_seconds; then one probe at a time
    BREAKER_OPENED = "breaker.opened"
    #: scope, cause; a probe worked
    BREAKER_CLOSED = "breaker.closed"
    #: reason; a change of a breaker could not be written to Postgres
    BREAKER_LOST = "breaker.lost"
    #: scope, pause_seconds
    THROTTLE_OBSERVED = "throttle.observed"
    #: skew_seconds
    CLOCK_SKEWED = "clock.skewed"

    #: requests
    REQUESTS_PRUNED = "requests.pruned"
    #: period, requests
    PERIOD_DROPPED = "period.dropped"
    #: period
    PERIOD_POSTPONED = "period.postponed"
    #: reason
    PRUNE_FAILED = "prune.failed"
    #: rung, taken_over, expired; only when it did something
    SWEEP_DONE = "sweep.done"
    #: reason
    SWEEP_FAILED = "sweep.failed"
    #: reason; the next round goes on with it
    OPERATION_FAILED = "operation.failed"
    #: rule, count, rows; the data break a rule of the audit
    AUDIT_VIOLATED = "audit.violated"
    #: reason
    AUDIT_FAILED = "audit.failed"
    #: reason; until it is back, callers that wait are told by a look every two seconds
    CHANGES_LOST = "changes.lost"
    #: reason; at debug, for the loss of PostgreSQL is a line of its own; figures for Prometheus could not be counted
    FIGURES_LOST = "figures.lost"

    #: reason; spans could not be handed over and are gone; once, until they are taken again
    TRACES_LOST = "traces.lost"

    #: library, words; a line that a library of ours has written
    LIBRARY_SAID = "library.said"
