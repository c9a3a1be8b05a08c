"""The client of the HTTP API, for programs with an event loop."""

from types import TracebackType
from typing import Self

from service.client.operator_calls import OperatorCalls
from service.client.request_calls import RequestCalls
from service.client.transport import Transport

TIMEOUT_SECONDS = 30.0
RETRY_SECONDS = 60.0


class ReleaseClient(RequestCalls, OperatorCalls):
    """Calls the service at ``url``; use it as ``async with``, or close it.

    Calls that were lost on the way, or came at a bad moment, are repeated where twice is as once, and as late as
    ``Retry-After`` says. Whatever is refused is raised as ``ReleaseError``.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        timeout: float = TIMEOUT_SECONDS,
        retry_for: float = RETRY_SECONDS,
    ) -> None:
        """Build a client; it connects on first use.

        Args:
            url: Where the service is, such as ``http://127.0.0.1:8080``.
            api_key: A key of ``batch-release keys create``; None for a service without keys.
            timeout: Seconds until one HTTP call without an answer counts as lost.
            retry_for: Seconds after which a call is not repeated any more; 0 repeats nothing.

        Raises:
            ValueError: the address is none.
        """
        self._transport = Transport(url, api_key, timeout=timeout, retry_for=retry_for)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()
