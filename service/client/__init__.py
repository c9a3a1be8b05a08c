"""The client library: what producers use to hand requests in. It works without the rest of the service."""

from service.client.errors import ReleaseError
from service.client.queue_producer import QueuedRequest, QueueProducer

__all__ = ["QueueProducer", "QueuedRequest", "ReleaseError"]
