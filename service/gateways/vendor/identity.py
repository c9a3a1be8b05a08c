"""Proves who we are: chooses the headers of a call by the kind of credentials."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import assert_never

from service.core.outcomes import NotSent
from service.core.signing import AccessKey
from service.gateways.vendor.calls import VendorCall
from service.gateways.vendor.config import Auth, TokenCredentials
from service.gateways.vendor.exchange import Exchange
from service.gateways.vendor.iam import Token
from service.gateways.vendor.outgoing import OutgoingRequest, Sender, outgoing_request, signature_headers
from service.gateways.vendor.tokens import TokenSource


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenRequest:
    """A request that carries its proof; ``token`` where the proof is one."""

    request: OutgoingRequest
    token: Token | None


class Identity:
    """The credentials of one client, with the tokens that they bought."""

    def __init__(self, auth: Auth, sender: Sender, *, exchange: Exchange) -> None:
        self._auth = auth
        self._sender = sender
        self._tokens = TokenSource(exchange, auth) if isinstance(auth, TokenCredentials) else None
        #: Digests: a token is long and secret, and a call under way may still carry an old one.
        self._taken: set[bytes] = set()

    async def prove(self, call: VendorCall) -> ProvenRequest | NotSent:
        """Complete a call with its proof; a token that IAM does not give is a call that was not sent."""
        match self._auth:
            case None:
                return self._proven(call, {})
            case AccessKey():
                headers = signature_headers(call, self._sender, key=self._auth, at=datetime.now(UTC))
                return self._proven(call, headers)
            case TokenCredentials():
                return await self._prove_by_token(call)
            case _:
                assert_never(self._auth)

    def remember_taken(self, token: Token) -> None:
        """Remember that the vendor took a token."""
        self._taken.add(_digest(token))

    def was_taken(self, token: Token) -> bool:
        """Tell whether the vendor ever took a token: one that it took may have ended, another was never good."""
        return _digest(token) in self._taken

    def forget(self, token: Token) -> None:
        """Never use a token again."""
        if self._tokens is not None:
            self._tokens.invalidate(token)

    async def close(self) -> None:
        """Give up what is still being asked of IAM."""
        if self._tokens is not None:
            await self._tokens.close()

    async def _prove_by_token(self, call: VendorCall) -> ProvenRequest | NotSent:
        if self._tokens is None:
            raise RuntimeError("an identity of tokens has a source of tokens")
        token = await self._tokens.token_for(call.project_id)
        if isinstance(token, NotSent):
            return token
        return self._proven(call, {"X-Auth-Token": token.value}, token=token)

    def _proven(
        self, call: VendorCall, headers: Mapping[str, str], *, token: Token | None = None
    ) -> ProvenRequest:
        return ProvenRequest(request=outgoing_request(call, self._sender, auth=headers), token=token)


def _digest(token: Token) -> bytes:
    return sha256(token.value.encode()).digest()
