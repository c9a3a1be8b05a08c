"""Who calls the façade: an access key by its signature, or an API key as a token; and the call as it was meant."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import web

from service.core.signing import DATE_HEADER
from service.core.verifying import (
    Claim,
    Pairs,
    ReceivedHead,
    Trusted,
    Untrusted,
    is_signed,
    read_claim,
    read_query,
    verify,
)
from service.doors.auth import Authenticator, Caller, Scope, caller_of, check_scope
from service.doors.facade.form import VendorFormError, invalid_parameter, not_authenticated
from service.doors.facade.memory import SAME_CALL
from service.doors.http import read_body
from service.doors.key_finder import KeyFinder
from service.flow.access_keys import AccessKeys, OpenedKey
from service.gateways.store.database import Database
from service.gateways.store.signed_calls import Sighting, see_call

_USED_BEFORE = (
    f"verify aksk signature fail, this signature was used before; expected a new {DATE_HEADER} for each call"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenCall:
    """A call of somebody who may make it."""

    caller: Caller
    query: Pairs
    body: bytes
    #: Of a signed call: who signed it, its signature, and when it was seen.
    access_key: str | None = None
    signature: bytes | None = None
    sighting: Sighting | None = None


class FacadeAuthenticator:
    """Checks signatures and tokens."""

    def __init__(self, database: Database, access_keys: AccessKeys, authenticator: Authenticator) -> None:
        self._database = database
        self._access_keys = access_keys
        self._keys = KeyFinder(lambda name: access_keys.find(name.decode()))
        self._authenticator = authenticator

    async def authenticate(self, request: web.Request, scope: Scope) -> ProvenCall:
        """Return the call with its caller.

        Raises:
            VendorFormError: the signature proves nothing, or was seen before.
            ProblemError: no live key, one without the scope, or a body that does not come.
            Unavailable: it cannot be checked now.
        """
        head = head_of(request)
        if self._authenticator.is_off or not is_signed(head):
            caller = await self._authenticator.authenticate(request, (scope,), now=time.monotonic())
            query = read_query(head)
            if query is None:
                raise VendorFormError(invalid_parameter("Expected a query in UTF-8."))
            return ProvenCall(caller=caller, query=query, body=await read_body(request))
        claim = read_claim(head, now=datetime.now(UTC))
        if isinstance(claim, Untrusted):
            raise VendorFormError(not_authenticated(claim.detail))
        return await self._authenticate_claim(claim, await read_body(request), scope)

    async def _authenticate_claim(self, claim: Claim, body: bytes, scope: Scope) -> ProvenCall:
        opened = await self._find(claim.signature.access_key)
        trusted = verify(claim, body, opened.secret_key if opened else None)
        if isinstance(trusted, Untrusted) or opened is None:
            detail = trusted.detail if isinstance(trusted, Untrusted) else "unknown access key"
            raise VendorFormError(not_authenticated(detail))
        caller = caller_of(opened.key)
        check_scope(caller, scope)
        self._authenticator.count_use(caller, now=time.monotonic())
        return ProvenCall(
            caller=caller,
            query=trusted.query,
            body=body,
            access_key=trusted.access_key,
            signature=trusted.signature,
            sighting=await self._see(trusted),
        )

    async def check_again(self, request: web.Request, call: ProvenCall, scope: Scope) -> None:
        """Check the key of a caller that has waited: it may have been revoked meanwhile.

        Raises:
            VendorFormError: the access key is no more.
            ProblemError: the API key is no more.
            Unavailable: it cannot be checked now.
        """
        if call.access_key is None:
            await self._authenticator.recognise(request, (scope,))
        elif await self._find(call.access_key) is None:
            raise VendorFormError(not_authenticated("the access key was revoked, or has ended"))

    async def _find(self, access_key: str) -> OpenedKey | None:
        return await self._keys.find(access_key.encode()) if self._access_keys.is_name(access_key) else None

    async def _see(self, trusted: Trusted) -> Sighting:
        async with self._database.connection() as connection:
            sighting = await see_call(connection, trusted.signature)
        if sighting.seen_after > SAME_CALL:
            raise VendorFormError(not_authenticated(_USED_BEFORE))
        return sighting


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def head_of(request: web.Request) -> ReceivedHead:
    """Return the request line and the headers as they were sent."""
    return ReceivedHead(
        method=request.method,
        target=request.raw_path,
        headers=tuple((_text(name), _text(value)) for name, value in request.raw_headers),
    )
