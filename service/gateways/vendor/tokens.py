"""Keeps one good IAM token per project: bought once however many ask, replaced before it ends."""

import asyncio
import dataclasses
import time
from datetime import timedelta

from service.core.outcomes import NotSent
from service.gateways.vendor.config import TokenCredentials
from service.gateways.vendor.exchange import Exchange
from service.gateways.vendor.iam import Token, buy_token

#: How long a token that is still good is used after IAM refused to give the next one.
RETRY_REFRESH_AFTER = timedelta(seconds=30)


class TokenSource:
    """The tokens of one IAM user."""

    def __init__(self, exchange: Exchange, credentials: TokenCredentials) -> None:
        self._exchange = exchange
        self._credentials = credentials
        self._tokens: dict[str, Token] = {}
        self._purchases: dict[str, asyncio.Task[Token | NotSent]] = {}

    async def token_for(self, project_id: str) -> Token | NotSent:
        """Return a token of the project; callers that come together share one call to IAM and its failure."""
        token = self._tokens.get(project_id)
        if token is not None and time.monotonic() < token.refresh_at:
            return token
        return await asyncio.shield(self._purchase_of(project_id))

    def invalidate(self, token: Token) -> None:
        """Forget a token that the vendor refused; a newer one stays."""
        for project_id, kept in list(self._tokens.items()):
            if kept.value == token.value:
                del self._tokens[project_id]

    async def close(self) -> None:
        """Give up the calls to IAM that are still open."""
        purchases = list(self._purchases.values())
        for purchase in purchases:
            purchase.cancel()
        await asyncio.gather(*purchases, return_exceptions=True)

    def _purchase_of(self, project_id: str) -> asyncio.Task[Token | NotSent]:
        purchase = self._purchases.get(project_id)
        if purchase is None:
            purchase = asyncio.create_task(self._renew(project_id))
            self._purchases[project_id] = purchase
            purchase.add_done_callback(lambda _: self._purchases.pop(project_id, None))
        return purchase

    async def _renew(self, project_id: str) -> Token | NotSent:
        bought = await buy_token(self._exchange, self._credentials, project_id=project_id)
        match bought:
            case Token():
                self._tokens[project_id] = bought
                return bought
            case NotSent():
                return self._prolonged(project_id) or bought

    def _prolonged(self, project_id: str) -> Token | None:
        now = time.monotonic()
        token = self._tokens.get(project_id)
        if token is None or now >= token.expires_at:
            return None
        retry_at = now + RETRY_REFRESH_AFTER.total_seconds()
        prolonged = dataclasses.replace(token, refresh_at=min(retry_at, token.expires_at))
        self._tokens[project_id] = prolonged
        return prolonged
