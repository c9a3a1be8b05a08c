"""The client library: what producers use to hand requests in. It works without the rest of the service.

Names are imported when they are first used: a producer needs no HTTP library, a caller over HTTP no Redis.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.client.errors import ReleaseError
    from service.client.queue_producer import QueuedRequest, QueueProducer
    from service.client.records import Event, Failure, Item, ReleaseRequest, Submitted, VendorWords
    from service.client.release_client import ReleaseClient
    from service.client.sync_client import SyncReleaseClient

__all__ = [
    "Event",
    "Failure",
    "Item",
    "QueueProducer",
    "QueuedRequest",
    "ReleaseClient",
    "ReleaseError",
    "ReleaseRequest",
    "Submitted",
    "SyncReleaseClient",
    "VendorWords",
]

_MODULES = {
    "ReleaseClient": "release_client",
    "ReleaseError": "errors",
    "QueueProducer": "queue_producer",
    "QueuedRequest": "queue_producer",
    "SyncReleaseClient": "sync_client",
}
_ELSEWHERE = "records"


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_MODULES.get(name, _ELSEWHERE)}")
    return getattr(module, name)
