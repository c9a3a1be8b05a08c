"""What is measured: yardsticks, peers, and this service as it is delivered."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

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

    @property
    def path(self) -> str:
        """Where requests are posted."""
        return "/v1/release-requests" if self.kind is Kind.SERVICE else "/requests"


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where a target finds everything."""

    port: int
    database_url: str
    redis_url: str
    vendor_url: str


GROUP = ("-m", "bench.yardsticks.group")
L1 = Target(name="L1", title="L1, bare handler", intake=("-m", "bench.yardsticks.bare"))
L3N = Target(name="L3n", title="L3n, group commit", intake=GROUP)
L4N = Target(
    name="L4n",
    title="L4n, NOTIFY a group",
    intake=GROUP,
    worker=("-m", "bench.yardsticks.notified"),
    environment={"BENCH_BELL": "notify"},
)
L5N = Target(
    name="L5n",
    title="L5n, an arq job a key",
    intake=GROUP,
    worker=("-m", "bench.yardsticks.belled"),
    environment={"BENCH_BELL": "arq"},
)
SERVICE = Target(
    name="service",
    title="this service",
    kind=Kind.SERVICE,
    intake=("-m", "service", "api"),
    worker=("-m", "service", "worker"),
)


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
