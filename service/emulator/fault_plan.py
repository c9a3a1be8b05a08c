"""Decides which call meets which fault; the same seed and the same calls give the same decisions."""

import hashlib
from dataclasses import dataclass

from service.emulator.authentication import Caller, CallerKind
from service.emulator.faults import FaultName, FaultRule, Faults
from service.emulator.vendor_call import VendorCall


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnFault:
    """The rule that fired, and its position."""

    rule: FaultRule
    position: int


class FaultPlan:
    """The faults in force, with how often each rule was drawn and has fired."""

    def __init__(self) -> None:
        self.faults = Faults()
        self._drawn: list[int] = []
        self._fired: list[int] = []

    def set(self, faults: Faults, *, keeps_counts: bool) -> None:
        """Put other faults in force."""
        self.faults = faults
        if not keeps_counts:
            self._drawn = [0] * len(faults.rules)
            self._fired = [0] * len(faults.rules)

    def draw(self, call: VendorCall, caller: Caller) -> DrawnFault | None:
        """Return the first rule that fires on the call; the caller counts it."""
        for position, rule in enumerate(self.faults.rules):
            if self._is_used_up(rule, position) or not _matches(rule, call, caller=caller):
                continue
            if self._chance(position) < rule.share:
                return DrawnFault(rule=rule, position=position)
        return None

    def count_fired(self, position: int) -> None:
        """Count one firing of a rule."""
        self._fired[position] += 1

    def _is_used_up(self, rule: FaultRule, position: int) -> bool:
        return rule.count is not None and self._fired[position] >= rule.count

    def _chance(self, position: int) -> float:
        self._drawn[position] += 1
        text = f"{self.faults.seed}:{position}:{self._drawn[position]}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64


def _matches(rule: FaultRule, call: VendorCall, *, caller: Caller) -> bool:
    return (
        rule.operation in {None, call.operation}
        and rule.workspace in {None, call.workspace}
        and (rule.item is None or rule.item in call.items)
        and _befalls(rule.fault, caller)
    )


def _befalls(fault: FaultName, caller: Caller) -> bool:
    match fault:
        case FaultName.TOKEN_EXPIRED:
            return caller.kind is CallerKind.TOKEN
        case FaultName.SIGNATURE_REFUSED:
            return caller.kind is CallerKind.ACCESS_KEY
        case _:
            return True
