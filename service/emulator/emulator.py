"""One running emulator: its parts, and the whole life of a call that the gateway has admitted."""

import asyncio
import time
from dataclasses import dataclass, field

from aiohttp import web

from service.emulator.answers import Answer
from service.emulator.authentication import Caller, CallerKind, claimed_caller
from service.emulator.backend import Backend
from service.emulator.config import EmulatorConfig
from service.emulator.events import CallEnded, CallStarted, FaultFired, FaultsSet
from service.emulator.fault_plan import DrawnFault
from service.emulator.faults import NOT_EXECUTED, FaultName, Faults
from service.emulator.gateway import Gateway
from service.emulator.holds import Hold, HoldPoint
from service.emulator.injected import disguise
from service.emulator.items import list_what_is_asked_for
from service.emulator.ledger import Ledger
from service.emulator.operations import Operation
from service.emulator.vendor_call import Arrival, Received, VendorCall, receive

_NOTHING = Answer(status=200)


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulator:
    """The parts of an emulator, made once and shared by its handlers."""

    config: EmulatorConfig
    ledger: Ledger
    gateway: Gateway
    backend: Backend
    hold: Hold = field(default_factory=Hold)
    #: Effects that have yet to come; an emulator that stops before loses them, as a vendor would.
    late_effects: set[asyncio.Task[None]] = field(default_factory=set)

    @classmethod
    def start(cls, config: EmulatorConfig) -> "Emulator":
        """Bring back the ledger and put the configured faults in force.

        Raises:
            LedgerDamagedError: The ledger cannot be read.
        """
        ledger = Ledger(config.ledger_path)
        if config.faults != Faults():
            ledger.append(FaultsSet(faults=config.faults, keeps_counts=False))
        return cls(config=config, ledger=ledger, gateway=Gateway(config), backend=Backend(config, ledger))

    @property
    def faults(self) -> Faults:
        """The faults in force."""
        return self.ledger.book.plan.faults

    def stop(self) -> None:
        """Forget what is still to come and close the ledger."""
        for task in self.late_effects:
            task.cancel()
        self.ledger.close()

    def open_call(self, received: Received, arrival: Arrival) -> VendorCall:
        """Give a call its place in the ledger."""
        call = receive(received, arrival, index=len(self.ledger.book.calls))
        package_name = call.members.get("package_name")
        self.ledger.append(
            CallStarted(
                index=call.index,
                at=arrival.at,
                started=arrival.started,
                operation=call.operation,
                project_id=call.project_id,
                workspace=call.workspace,
                items=call.items,
                package_name=package_name if isinstance(package_name, str) else None,
                caller=claimed_caller(call),
                request_id=call.request_id,
                traceparent=received.headers.get("traceparent"),
            )
        )
        return call

    def end_call(self, call: VendorCall, answer: Answer, *, status: int | None, executed: bool) -> None:
        """Note how a call was answered; ``status`` is None for a connection that was dropped."""
        self.ledger.append(
            CallEnded(
                index=call.index,
                ended=time.monotonic(),
                status=status,
                error_code=None if status is None else answer.error_code,
                executed=executed,
            )
        )

    def draw_fault(self, call: VendorCall, caller: Caller) -> DrawnFault | None:
        """Find the fault that a call meets, and note it."""
        drawn = self.ledger.book.plan.draw(call, caller)
        if drawn is not None:
            self.ledger.append(FaultFired(index=call.index, fault=drawn.rule.fault, rule=drawn.position))
        return drawn

    async def carry_out(self, call: VendorCall, caller: Caller, *, drawn: DrawnFault | None) -> "CarriedOut":
        """Let the service do its work, unless the fault stands before it; say what the client is to hear."""
        if call.operation is Operation.CREATE_PACKAGE:
            list_what_is_asked_for(self.ledger, call, now=time.time())
        if drawn is not None and drawn.rule.fault in NOT_EXECUTED:
            return CarriedOut(answer=disguise(_NOTHING, drawn.rule, call), is_executed=False)
        if drawn is not None and drawn.rule.fault is FaultName.LATE_EFFECT:
            self._schedule(call, caller, seconds=drawn.rule.delay_seconds)
            return CarriedOut(answer=_NOTHING, is_executed=False)
        answer = await self._execute_at_points(call, caller)
        is_executed = answer.error_code is None
        if drawn is not None:
            answer = disguise(answer, drawn.rule, call)
        return CarriedOut(answer=answer, is_executed=is_executed)

    async def pass_point(self, point: HoldPoint, call: VendorCall) -> None:
        """Stand still where a test wants a create call held."""
        if call.operation is Operation.CREATE_PACKAGE:
            await self.hold.pass_point(point, call.index)

    async def _execute_at_points(self, call: VendorCall, caller: Caller) -> Answer:
        await self.pass_point(HoldPoint.BEFORE_APPLY, call)
        answer = self._execute(call, caller)
        await self.pass_point(HoldPoint.AFTER_APPLY, call)
        return answer

    def _execute(self, call: VendorCall, caller: Caller) -> Answer:
        is_signed = caller.kind is CallerKind.ACCESS_KEY
        return self.backend.execute(call, is_signed=is_signed, now=time.time())

    def _schedule(self, call: VendorCall, caller: Caller, *, seconds: float) -> None:
        task = asyncio.create_task(self._execute_late(call, caller, seconds=seconds))
        self.late_effects.add(task)
        task.add_done_callback(self.late_effects.discard)

    async def _execute_late(self, call: VendorCall, caller: Caller, *, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._execute(call, caller)


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedOut:
    """What became of a call: the answer to give, and whether the service did what was asked."""

    answer: Answer
    is_executed: bool


EMULATOR = web.AppKey("emulator", Emulator)
