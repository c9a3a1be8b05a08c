"""Which clock decides: the servers' own, or one that only runs forward; never the wall clock of a process."""

import ast
from collections.abc import Iterator

from tests.architecture.source import Module, modules

WALL_CLOCKS = {
    "datetime.now",
    "datetime.today",
    "datetime.utcnow",
    "datetime.datetime.now",
    "date.today",
    "time.time",
    "time.time_ns",
    "time.gmtime",
    "time.localtime",
}
#: Who may ask what time it is, as no lease and no limit hangs on the answer.
MAY_ASK = {
    "service/core/ids.py": "ids begin with the time",
    "service/flow/accept.py": "a deadline that has passed is refused at the door",
    "service/flow/status.py": "how long a caller may wait before it asks again",
    "service/gateways/queue.py": "arq orders its queue by it; the sweep mends what a wrong clock does to that",
    "service/gateways/vendor/exchange.py": "for the skew between our clock and the vendor's, which is logged",
    "service/gateways/vendor/gate.py": "when a call was sent, for the record",
    "service/gateways/vendor/identity.py": "signatures bear the time",
    "service/doors/facade/identity.py": "the date of a signature has to be near our own",
    "service/doors/console/rendering.py": "how long ago something was, for people",
    "service/commands/remote/ages.py": "how long ago something was, for people",
    "service/flow/api_keys.py": "when a key was made",
}


def wall_clocks(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in WALL_CLOCKS:
            yield ast.unparse(node)
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from (alias.name for alias in node.names if f"time.{alias.name}" in WALL_CLOCKS)


def test_no_lease_and_no_limit_goes_by_the_wall_clock_of_a_process() -> None:
    """A clock that is wrong or jumps ends no lease and no limit: the few places that read it are these."""
    readers = {
        module.path
        for module in modules("service")
        if not module.path.startswith("service/emulator/") and any(wall_clocks(module))
    }

    assert readers == MAY_ASK.keys()
