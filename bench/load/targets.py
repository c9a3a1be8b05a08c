"""What is measured: yardsticks, peers, and this service as it is delivered."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from bench.load.processes import REPOSITORY
from service.emulator.config import DEFAULT_ACCESS_KEY, EmulatorConfig

PROJECT = "project"


class Kind(StrEnum):
    """Whose tables a target has."""

    YARDSTICK = "yardstick"
    SERVICE = "service"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A program that takes requests over HTTP, and one that releases them."""

    name: str
    title: str
    kind: Kind = Kind.YARDSTICK
    #: What follows the interpreter on the command line.
    intake: Sequence[str]
    worker: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    python: str = sys.executable
    intakes: int = 1
    workers: int = 1

    @property
    def path(self) -> str:
        """Where requests are posted."""
        return "/v1/release-requests" if self.kind is Kind.SERVICE else "/requests"

    @property
    def intake_words(self) -> Sequence[str]:
        """The command line of the intake; of several processes the first starts the others."""
        more = ["--processes", str(self.intakes)] if self.intakes > 1 else []
        return [self.python, *self.intake, *more]

    @property
    def worker_words(self) -> Sequence[str]:
        """The command line of a worker."""
        return [self.python, *self.worker]


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where a target finds everything."""

    port: int
    database_url: str
    redis_url: str
    vendor_url: str


GROUP = ("-m", "bench.yardsticks.group")
L1 = Target(name="L1", title="L1: bare handler", intake=("-m", "bench.yardsticks.bare"))
L3N = Target(name="L3n", title="L3n: L1 and group commit", intake=GROUP)
L3P = Target(
    name="L3p",
    title="L3p: L3n with this service's checks, rows and answer",
    kind=Kind.SERVICE,
    intake=("-m", "bench.yardsticks.kept"),
)
L4N = Target(
    name="L4n",
    title="L4n: L3n, a worker woken by NOTIFY",
    intake=GROUP,
    worker=("-m", "bench.yardsticks.notified"),
    environment={"BENCH_BELL": "notify"},
)
L5N = Target(
    name="L5n",
    title="L5n: L3n, a worker woken by arq",
    intake=GROUP,
    worker=("-m", "bench.yardsticks.belled"),
    environment={"BENCH_BELL": "arq"},
)
ARQ = Target(
    name="arq",
    title="arq, a job a request",
    intake=("-m", "bench.peers.arq_peer", "intake"),
    worker=("-m", "bench.peers.arq_peer", "worker"),
)
SERVICE = Target(
    name="service",
    title="this service",
    kind=Kind.SERVICE,
    intake=("-m", "service", "api"),
    worker=("-m", "service", "worker"),
)
TWO_INTAKES = replace(SERVICE, name="2 HTTP", title="this service, 2 HTTP processes", intakes=2)
TWO_WORKERS = replace(SERVICE, name="2 workers", title="this service, 2 workers", workers=2)
FOUR_WORKERS = replace(SERVICE, name="4 workers", title="this service, 4 workers", workers=4)
LIMITED = replace(
    SERVICE,
    name="limits on",
    title="this service, all limits on and generous",
    environment={
        "RELEASE_VENDOR_RATE": "10000",
        "RELEASE_WORKSPACE_RATE": "1000",
        "RELEASE_WORKSPACE_CONCURRENCY": "64",
    },
)


def peer(name: str) -> Target:
    """Return a peer, which runs in an environment of its own."""
    module = f"bench.peers.{name}_peer"
    return Target(
        name=name,
        title=f"{name}, a job a request",
        intake=("-m", module, "intake"),
        worker=("-m", module, "worker"),
        python=str(REPOSITORY / ".venv-peers" / name / "bin" / "python"),
    )


PEERS = (peer("taskiq"), peer("saq"))


def environment_for(target: Target, at: Addresses) -> dict[str, str]:
    """Return the variables with which a target finds everything."""
    if target.kind is Kind.YARDSTICK:
        return {
            "BENCH_PORT": str(at.port),
            "BENCH_DATABASE_URL": at.database_url,
            "BENCH_REDIS_URL": at.redis_url,
            "BENCH_VENDOR_URL": at.vendor_url,
            **target.environment,
        }
    return {
        "RELEASE_HTTP_PORT": str(at.port),
        "RELEASE_DATABASE_URL": at.database_url,
        "RELEASE_REDIS_URL": at.redis_url,
        "RELEASE_VENDOR_URL": at.vendor_url,
        "RELEASE_PROJECT_ID": PROJECT,
        "RELEASE_VENDOR_RATE": "0",
        "RELEASE_VENDOR_CONCURRENCY": "64",
        "HUAWEICLOUD_SDK_AK": DEFAULT_ACCESS_KEY,
        "HUAWEICLOUD_SDK_SK": EmulatorConfig().access_keys[DEFAULT_ACCESS_KEY],
        **target.environment,
    }
