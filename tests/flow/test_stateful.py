"""The real flow on a real PostgreSQL against a model of the vendor, in random order, with time that the test moves.

Postgres' clock cannot be set, so time passes by moving what is stored: leases and next looks are put into the past. The
vendor is a list of packages; the flow never talks to it, its answers are handed to settle as reports of calls.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from service.core.auditing import Patience
from service.core.config import Settings
from service.core.ids import new_id
from service.core.model import Batch, ClosedBy
from service.core.outcomes import NO_WORDS, CallReport, InDoubt, Outcome, Rejected, Released, VendorError
from service.core.place import Place
from service.core.reconciling import ListedPackage, Look, Sought, Unreadable, judge_look
from service.core.refusal import plan_split
from service.core.resolution import Decision, Resolution
from service.deps import WorkerDeps
from service.flow import sweep, workspaces
from service.flow.accept_group import Accepted, ItemConflict, accept_group
from service.flow.audit import audit
from service.flow.batch import Due, claim_batch
from service.flow.reconcile import settle_doubt
from service.flow.resolve import NotResolvable, Order, Resolved, resolve
from service.flow.settle import settle
from service.flow.split import part
from service.gateways.limits import Asking
from service.gateways.permits import Permit
from service.gateways.store import reconciling, splitting
from service.gateways.store.reconciling import Doubt
from tests.support.new_requests import a_request
from tests.support.worker_deps import worker_deps

T = TypeVar("T")
ITEMS = "abcdefghijkl"
APPLICANTS = st.sampled_from(["ann", "ann", "ann", "eve"])
REQUESTS = st.tuples(st.lists(st.sampled_from(ITEMS), min_size=1, max_size=4, unique=True), APPLICANTS)
MOST_REQUESTS = 8
RARELY = st.sampled_from([False, False, True])
PLACE = Place(project_id="p", workspace="w")
#: The vendor never takes it.
POISON = "l"
#: Far more than anything here takes: the audit's rules of time are not what is tried.
PATIENT = Patience.of(
    Settings.from_env(
        {
            "RELEASE_CALL_TIMEOUT_SECONDS": "90000",
            "RELEASE_GRACE_SECONDS": "95000",
            "RELEASE_LEASE_SECONDS": "100000",
        }
    )
)
NO = VendorError(
    status=400, error_code="DLF.3051", error_msg="The request parameter is invalid.", request_id=None
)
TABLES = (
    "release_requests, batches, attempts, release_items, request_events, idempotency_keys, item_holders, holds, "
    "workspaces"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package as the vendor has it."""

    package_id: str
    name: str
    items: frozenset[str]


@dataclass(slots=True, kw_only=True)
class Vendor:
    """Takes every item again, so that only the service keeps it from being packaged twice."""

    packages: list[Package] = field(default_factory=list)

    def create(self, batch: Batch) -> Outcome:
        """Make a package of a batch, or refuse it as a whole."""
        if POISON in batch.pending_item_ids:
            return Rejected(error=NO, may_be_an_item=True)
        package = Package(
            package_id=str(len(self.packages) + 1),
            name=batch.package_name,
            items=frozenset(batch.pending_item_ids),
        )
        self.packages.append(package)
        return Released(release_package_id=package.package_id, request_id=None)

    def look_for(self, doubt: Doubt) -> Look:
        """Judge a doubt by the lists, which show everything at once."""
        named = [
            ListedPackage(package_id=one.package_id, apply_user_id="ann", pending_item_ids=one.items)
            for one in self.packages
            if one.name == doubt.package_name and one.package_id not in doubt.siblings
        ]
        packaged = {item for one in self.packages for item in one.items}
        sought = Sought(
            package_name=doubt.package_name, apply_user_id="ann", pending_item_ids=doubt.pending_item_ids
        )
        listed = {item: item in packaged for item in ITEMS}
        return judge_look(sought, named=named, is_packaged=listed, is_complete=True)


def another(order: Order) -> Order:
    """Return what a second operator decides of the same batch."""
    return replace(order, resolution=replace(order.resolution, resolution_id=new_id()))


class Flow(RuleBasedStateMachine):
    """Requests come in, batches are claimed, calls work or not and are answered or not, workers die and wake up."""

    deps: WorkerDeps
    runner: asyncio.Runner

    def do(self, work: Awaitable[T]) -> T:
        """Run a part of the flow to its end."""

        async def wait() -> T:
            return await work

        return self.runner.run(wait())

    def execute(self, statement: str) -> None:
        """Run a statement."""

        async def run() -> None:
            async with self.deps.database.connection() as connection:
                await connection.execute(statement)

        self.do(run())

    @initialize(requests=st.lists(REQUESTS, min_size=2, max_size=4))
    def begin(self, requests: list[tuple[list[str], str]]) -> None:
        """Start with a few requests and a vendor without packages."""
        self.execute(f"TRUNCATE {TABLES} RESTART IDENTITY CASCADE")
        self.vendor = Vendor()
        self.stands: set[str] = set()
        self.submitted = 0
        self.is_paused = False
        self.claims: list[Batch] = []
        #: Calls that were made; their workers may have died, or may still want to settle.
        self.called: list[tuple[Batch, Outcome]] = []
        for items, applicant in requests:
            self.accept(items, applicant)

    @precondition(lambda self: self.submitted < MOST_REQUESTS)
    @rule(request=REQUESTS)
    def submit(self, request: tuple[list[str], str]) -> None:
        """Hand a request in."""
        self.accept(*request)

    def accept(self, items: list[str], applicant: str) -> None:
        """Accept a request, or find that another applicant holds one of its items."""
        self.submitted += 1
        request = a_request(*items, applicant=applicant)
        (outcome,) = self.do(self.deps.database.transact(lambda c: accept_group(c, [request])))

        assert isinstance(outcome, Accepted | ItemConflict)

    @rule(data=st.data())
    def work(self, data: st.DataObject) -> None:
        """Do one of the things that can happen now."""
        action = data.draw(st.sampled_from(self.possible()))
        action(data)

    def possible(self) -> list[Callable[[st.DataObject], None]]:
        """Return what can happen, as the items stand and the workers are."""
        possible: list[Callable[[st.DataObject], None]] = [self.pause_or_resume]
        if self.stands & {"waiting", "batched", "in_doubt"}:
            possible += [self.claim, self.claim]
        if self.claims:
            possible += [self.call, self.call, self.die_before_the_call]
        if self.called:
            possible += [self.answer, self.answer]
        by_state = (
            ("in_doubt", self.look),
            ("in_doubt", self.see_nothing),
            ("needs_attention", self.resolve),
            ("releasing", self.let_leases_run_out),
            ("batched", self.split),
        )
        possible += [action for state, action in by_state if state in self.stands]
        if "waiting" in self.stands and self.submitted == MOST_REQUESTS:
            possible += [self.let_deadlines_pass]
        return possible

    def claim(self, data: st.DataObject) -> None:
        """Claim a sealed batch whose time has passed, or else seal what waits under a key."""
        key = a_request("a", applicant=data.draw(APPLICANTS)).submission.key
        asking = Asking(batch_key=key.digest, project_id="p", workspace="w")
        self.execute("UPDATE batches SET not_before = now() WHERE state = 'sealed'")
        for closed_by in (None, ClosedBy.QUIET):
            claimed = self.do(claim_batch(self.deps, Due(asking=asking, closed_by=closed_by)))
            assert claimed is None or not self.is_paused
            if claimed is not None:
                self.claims.append(claimed.batch)
                return

    def pause_or_resume(self, _: st.DataObject) -> None:
        """Have an operator pause the workspace, or resume it."""
        order = workspaces.Order(
            place=PLACE, visible=("%",), actor="operator", reason=None, http_request_id="test"
        )
        act = workspaces.resume if self.is_paused else workspaces.pause
        view = self.do(act(self.deps, order))
        self.is_paused = not self.is_paused

        assert view is not None
        assert view.governance.is_paused is self.is_paused

    def call(self, data: st.DataObject) -> None:
        """Call for a claim, if it still holds; the request may be lost on its way."""
        batch = take_one(self.claims, data)
        if self.do(self.holds(batch)):
            lost = InDoubt(reason="lost", error=NO_WORDS)
            self.called.append((batch, lost if data.draw(RARELY) else self.vendor.create(batch)))

    async def holds(self, batch: Batch) -> bool:
        """Tell whether a claim is still its worker's."""
        async with self.deps.database.connection() as connection:
            return bool(
                await connection.fetchval(
                    "SELECT EXISTS (SELECT FROM batches WHERE id = $1 AND epoch = $2 AND state = 'sending')",
                    batch.batch_id,
                    batch.epoch,
                )
            )

    def answer(self, data: st.DataObject) -> None:
        """Settle a call, however late: with its answer, or without."""
        batch, outcome = take_one(self.called, data)
        heard = outcome if data.draw(st.booleans()) else InDoubt(reason="timeout", error=NO_WORDS)
        asking = Asking(batch_key=batch.key.digest, project_id="p", workspace="w")
        report = CallReport(outcome=heard, sent_at=datetime.now(UTC))
        self.do(settle(self.deps, batch, report, asking=asking, permit=Permit(permit_id="-")))

    def die_before_the_call(self, data: st.DataObject) -> None:
        """Kill the worker of a claim."""
        take_one(self.claims, data)

    def let_leases_run_out(self, _: st.DataObject) -> None:
        """Time passes, and the sweep takes over what nobody has come back for."""
        self.execute(
            "UPDATE batches SET lease_expires_at = now() - interval '1 second' WHERE state = 'sending'"
        )
        self.do(sweep.take_over_expired(self.deps))

    def look(self, _: st.DataObject) -> None:
        """Time passes, and every doubt is looked up."""
        self.execute("UPDATE batches SET not_before = now() WHERE state = 'in_doubt'")
        for doubt in self.do(self.lend_doubts()):
            self.do(settle_doubt(self.deps, doubt, self.vendor.look_for(doubt)))

    def see_nothing(self, _: st.DataObject) -> None:
        """The lists cannot be read for longer than a doubt may last, so that an operator is asked."""
        self.execute("UPDATE batches SET not_before = now() WHERE state = 'in_doubt'")
        for doubt in self.do(self.lend_doubts()):
            old = replace(doubt, in_doubt_since=doubt.now - timedelta(days=30))
            self.do(settle_doubt(self.deps, old, Unreadable(reason="503")))

    def resolve(self, data: st.DataObject) -> None:
        """An operator looks at the vendor's console, and decides what is true."""
        batches = self.do(self.parked_batches())
        batch_id, name = data.draw(st.sampled_from(batches))
        package = next((one for one in self.vendor.packages if one.name == name), None)
        unreleased = st.sampled_from([Decision.RESEND, Decision.REJECTED])
        resolution = Resolution(
            resolution_id=new_id(),
            decision=data.draw(unreleased) if package is None else Decision.RELEASED,
            release_package_id=None if package is None else package.package_id,
            reason="seen at the vendor's",
            resolved_by="operator",
        )
        order = Order(batch_id=batch_id, resolution=resolution, visible=("%",), http_request_id=None)

        assert isinstance(self.do(resolve(self.deps, order)), Resolved)
        assert isinstance(self.do(resolve(self.deps, another(order))), NotResolvable)

    async def parked_batches(self) -> list[tuple[UUID, str]]:
        """Return id and package name of the batches that wait for an operator."""
        async with self.deps.database.connection() as connection:
            rows = await connection.fetch(
                "SELECT id, package_name FROM batches WHERE state = 'needs_attention' ORDER BY id"
            )
        return [(row["id"], row["package_name"]) for row in rows]

    async def lend_doubts(self) -> list[Doubt]:
        """Take every doubt that is due."""
        return await self.deps.database.transact(
            lambda c: reconciling.lend_doubts(c, workspaces=4, limit=100, loan=timedelta(seconds=60))
        )

    def split(self, data: st.DataObject) -> None:
        """Part a refused batch, with or without the list's help."""
        key = a_request("a", applicant=data.draw(APPLICANTS)).submission.key.digest
        refusal = self.do(
            self.deps.database.transact(lambda c: splitting.lend_refusal(c, key, loan=timedelta(0)))
        )
        if refusal is not None:
            bad = {POISON: "gone"} if data.draw(st.booleans()) else {}
            self.do(part(self.deps, refusal, plan_split(refusal.pending_item_ids, bad=bad), batch_key=key))

    def let_deadlines_pass(self, _: st.DataObject) -> None:
        """Some of what waits expires; who is attached to it goes on in its place."""
        self.execute(
            "UPDATE release_items SET deadline = now() WHERE state = 'waiting' AND holder_id IS NULL AND id % 3 = 0"
        )
        self.do(sweep.expire_late_items(self.deps))

    @invariant()
    def no_item_is_in_two_packages(self) -> None:
        """The vendor would have taken it."""
        items = [item for package in self.vendor.packages for item in package.items]

        assert len(items) == len(set(items))

    @invariant()
    def postgres_and_the_vendor_agree(self) -> None:
        """Released means in that package; every other end means in none."""
        packages = {(one.package_id, item) for one in self.vendor.packages for item in one.items}
        packaged = {item for _, item in packages}
        held = self.do(self.held_items())
        #: The states of items that there are: they say what can happen next.
        self.stands = {state for state, _, _ in held}

        assert {(package_id, item) for state, item, package_id in held if state == "released"} <= packages
        assert packaged <= {item for state, item, _ in held if state not in {"rejected", "failed", "expired"}}

    async def held_items(self) -> list[tuple[str, str, str | None]]:
        """Return state, item and package of every row that holds or held an item."""
        async with self.deps.database.connection() as connection:
            rows = await connection.fetch(
                "SELECT i.state, i.pending_item_id, b.release_package_id FROM release_items AS i"
                " LEFT JOIN batches AS b ON b.id = i.batch_id WHERE i.holder_id IS NULL"
            )
        return [tuple(row) for row in rows]

    @invariant()
    def the_audit_is_clean(self) -> None:
        """Every rule that Postgres alone can tell."""
        report = self.do(audit(self.deps.database, PATIENT))

        assert report.is_clean, report


def take_one(some: list[T], data: st.DataObject) -> T:
    """Take any of several out."""
    return some.pop(data.draw(st.integers(0, len(some) - 1)))


@pytest.fixture
def flow(database_url: str, redis_url: str) -> Iterator[type[Flow]]:
    """The machine on servers of the test run; the vendor's address is never called."""
    patience = {"RELEASE_RECHECK_SECONDS": "0.000001", "RELEASE_RECONCILE_SECONDS": "600000"}
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        deps = runner.run(stack.enter_async_context(worker_deps(database_url, redis_url, **patience)))
        yield type("FlowHere", (Flow,), {"deps": deps, "runner": runner})
        runner.run(stack.aclose())


def test_the_flow_keeps_its_promise_in_any_order(flow: type[Flow]) -> None:
    """No double, no lie, a clean audit after every step of random histories; a failing one is shrunk."""
    examples = int(os.environ.get("RELEASE_CHAOS_EXAMPLES", "25"))
    run_state_machine_as_test(
        flow,
        settings=settings(
            max_examples=examples,
            stateful_step_count=50,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
