"""Which fault comes when: drawn from a seed before the run, so that a failing run can be run again."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from types import MappingProxyType

from service.emulator.faults import FaultName
from tests.support.link import Mode

APIS = ("api-0", "api-1")
WORKERS = ("worker-0", "worker-1", "worker-2")
LINKS = ("postgres", "redis", "vendor")
#: Longer than a lease, and than it then takes to settle the doubt: 2 s + 1 s + 2 s + 0.5 s.
LONGEST_FREEZE = 8.0
#: With the longest lag of a list it is just within the settle time of 2 s.
LONGEST_LATENESS = 1.4
#: A lax vendor would carry out the call of a worker that was frozen for longer than it takes to prove absence.
_SHORT_FREEZE = 0.5
#: Not among them: a refused signature rests for a minute, and a huge answer is for a test of its own.
VENDOR_FAULTS = tuple(
    fault.value
    for fault in FaultName
    if fault not in {FaultName.SIGNATURE_REFUSED, FaultName.TOKEN_EXPIRED, FaultName.HUGE_200}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault: when it begins in seconds of the run, how long it lasts, what it is and whom it befalls."""

    at: float
    lasts: float
    kind: str
    target: str
    detail: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        """Write it as a line of the schedule."""
        detail = f" {dict(self.detail)}" if self.detail else ""
        return f"{self.at:7.2f} s  for {self.lasts:4.2f} s  {self.kind} {self.target}{detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Track:
    """Faults of one sort come one after the other, those of different tracks at the same time."""

    draw: Callable[[Random], tuple[str, str, float, Mapping[str, object]]]
    #: The pause between two faults, in seconds.
    pause: tuple[float, float]


def draw_tracks(seed: int, seconds: float, *, is_lax: bool) -> list[list[Fault]]:
    """Draw the faults of a run, one list a track; calls come less late where the vendor is lax."""
    return [
        [
            _shorten(fault) if is_lax else fault
            for fault in _draw_track(track, _new_random(seed, name), seconds)
        ]
        for name, track in _TRACKS.items()
    ]


def _new_random(seed: int, name: str) -> Random:
    return Random(f"{seed}/{name}")  # noqa: S311 - to be repeatable, not secret


def _shorten(fault: Fault) -> Fault:
    if fault.kind == "freeze":
        return replace(fault, lasts=min(fault.lasts, _SHORT_FREEZE))
    return fault


def _draw_track(track: _Track, random: Random, seconds: float) -> Iterator[Fault]:
    at = random.uniform(*track.pause)
    while at < seconds:
        kind, target, lasts, detail = track.draw(random)
        lasts = round(min(lasts, seconds - at), 2)
        yield Fault(at=round(at, 2), lasts=lasts, kind=kind, target=target, detail=detail)
        at += lasts + random.uniform(*track.pause)


def _draw_process(random: Random) -> tuple[str, str, float, Mapping[str, object]]:
    kind = random.choice(("kill", "kill", "freeze", "freeze", "term", "term_twice", "kill_api", "freeze_api"))
    if kind.endswith("_api"):
        return kind.removesuffix("_api"), random.choice(APIS), random.uniform(0.1, 1.5), {}
    if kind == "freeze":
        # Most are short: a fault after which nothing else happens for long is a waste of time.
        return kind, random.choice(WORKERS), 0.1 + LONGEST_FREEZE * random.random() ** 2, {}
    return kind, random.choice(WORKERS), random.uniform(0.1, 1.5), {}


def _draw_server(random: Random) -> tuple[str, str, float, Mapping[str, object]]:
    kind, target = random.choice(
        (
            ("kill", "postgres"),
            ("stop", "postgres"),
            ("kill", "valkey"),
            ("stop", "valkey"),
            ("flush", "valkey"),
        )
    )
    return kind, target, random.uniform(0.1, 2.0), {}


def _draw_link(random: Random) -> tuple[str, str, float, Mapping[str, object]]:
    mode = random.choice([mode for mode in Mode if mode is not Mode.PASS])
    detail = {"delay_seconds": round(random.uniform(0.05, 0.3), 2)} if mode in {Mode.DELAY, Mode.DRIP} else {}
    return f"link_{mode.value}", random.choice(LINKS), random.uniform(0.2, 2.0), detail


def _draw_vendor(random: Random) -> tuple[str, str, float, Mapping[str, object]]:
    faults = {
        "rules": [_draw_rule(random) for _ in range(random.randint(1, 3))],
        "list_lag_seconds": random.choice((0.0, 0.0, 0.3, 0.5)),
        "latency_seconds": random.choice((0.0, 0.05, 0.3)),
        "seed": random.randint(1, 1_000_000),
    }
    return "faults", "emulator", random.uniform(1.0, 5.0), faults


def _draw_operator(random: Random) -> tuple[str, str, float, Mapping[str, object]]:
    return random.choice(("pause", "pause", "slow")), "workspace", random.uniform(0.3, 3.0), {}


def _draw_rule(random: Random) -> dict[str, object]:
    fault = random.choice((*VENDOR_FAULTS, FaultName.LATE_EFFECT.value, FaultName.LATE_EFFECT.value))
    rule: dict[str, object] = {"fault": fault, "share": random.choice((0.1, 0.3, 0.6))}
    if fault == FaultName.THROTTLED:
        rule["retry_after"] = random.choice((None, "1", "date:1", "garbage"))
    if fault in {FaultName.LATE_EFFECT, FaultName.SLOW_BODY}:
        rule["seconds"] = round(random.uniform(0.2, LONGEST_LATENESS), 2)
    if fault.endswith("_before") and random.random() < 0.5:
        rule["operation"] = None
    return rule


_TRACKS: Mapping[str, _Track] = MappingProxyType(
    {
        "processes": _Track(draw=_draw_process, pause=(0.3, 2.5)),
        "servers": _Track(draw=_draw_server, pause=(2.0, 6.0)),
        "links": _Track(draw=_draw_link, pause=(0.5, 3.0)),
        "vendor": _Track(draw=_draw_vendor, pause=(0.2, 1.5)),
        "operators": _Track(draw=_draw_operator, pause=(0.5, 2.0)),
    }
)
