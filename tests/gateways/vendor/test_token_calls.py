"""Calls that prove themselves by a token."""

from yarl import URL

from service.core.outcomes import NotSent, NotSentCause, Released
from service.gateways.vendor.exchange import Exchange
from service.gateways.vendor.iam import Token
from service.gateways.vendor.identity import Identity
from service.gateways.vendor.lists import Listing
from service.gateways.vendor.outgoing import Sender
from tests.gateways.vendor.iam import PASSWORD, Iam, client_between, credentials_at
from tests.gateways.vendor.raw_server import (
    always,
    created,
    http_answer,
    in_turn,
)
from tests.gateways.vendor.samples import PROJECT, batch, config, in_a_minute

EMPTY_LIST = http_answer(200, b'{"total":0,"data":[]}')
MUST_BE_UPDATED = http_answer(401, b'{"error_code":"APIGW.0307","error_msg":"The token must be updated."}')


def test_secrets_are_not_shown() -> None:
    """Neither the password nor a token is in what gets logged."""
    token = Token(value="a-token", refresh_at=1.0, expires_at=2.0)
    shown = (
        repr(credentials_at("http://iam")) + repr(token) + repr(config("http://x", auth=credentials_at("y")))
    )

    assert PASSWORD not in shown
    assert "a-token" not in shown


async def test_a_call_carries_the_token() -> None:
    """With token authentication a call carries the token and no signature."""
    async with client_between(Iam().serve, always(created())) as (client, server):
        report = await client.create_package(batch(), deadline=in_a_minute())

    assert isinstance(report.outcome, Released)
    assert b"X-Auth-Token: token-1\r\n" in server.received
    assert b"Authorization" not in server.received


async def test_a_refused_token_is_dropped_and_the_call_is_not_repeated() -> None:
    """A 401 about a token that was good is one call, not sent; the caller's next call has a new token."""
    async with client_between(Iam().serve, in_turn(created(), MUST_BE_UPDATED)) as (client, server):
        await client.create_package(batch(), deadline=in_a_minute())
        second = await client.create_package(batch(), deadline=in_a_minute())
        calls = server.received.count(b"POST ")
        await client.list_pending_items(PROJECT, "ws1")

    assert isinstance(second.outcome, NotSent)
    assert second.outcome.cause is NotSentCause.TOKEN
    assert calls == 2
    assert server.received.count(b"X-Auth-Token: token-2\r\n") == 1


async def test_a_read_whose_token_had_ended_is_made_again() -> None:
    """A token that only reads have used may end too: the read goes on with the next one."""
    answers = in_turn(EMPTY_LIST, MUST_BE_UPDATED, EMPTY_LIST)
    async with client_between(Iam().serve, answers) as (client, server):
        first, second = [await client.list_pending_items(PROJECT, "ws1") for _ in range(2)]

    assert isinstance(first, Listing)
    assert isinstance(second, Listing)
    assert server.received.count(b"X-Auth-Token: token-1\r\n") == 2
    assert server.received.count(b"X-Auth-Token: token-2\r\n") == 1


async def test_an_old_token_stays_one_that_was_taken() -> None:
    """A call under way may carry the old token while the next one is taken: its 401 is no refused credential."""
    old, new = (Token(value=value, refresh_at=1.0, expires_at=2.0) for value in ("old", "new"))
    settings = config("http://127.0.0.1:1")
    sender = Sender(base_url=URL(settings.base_url), user_agent=settings.user_agent)
    identity = Identity(None, sender, exchange=Exchange(settings))
    identity.remember_taken(old)
    identity.forget(old)
    identity.remember_taken(new)

    assert identity.was_taken(old)
    assert identity.was_taken(new)


async def test_a_new_token_that_is_refused_is_a_refused_credential() -> None:
    """A token that the vendor never took has not expired: asking for the next one would go on for ever."""
    async with client_between(Iam().serve, always(MUST_BE_UPDATED)) as (client, _):
        report = await client.create_package(batch(), deadline=in_a_minute())

    assert isinstance(report.outcome, NotSent)
    assert report.outcome.cause is NotSentCause.AUTHENTICATION


async def test_without_a_token_nothing_is_sent() -> None:
    """Where IAM refuses the password, the vendor is not called."""
    refusal = always(http_answer(401, b"{}"))
    async with client_between(refusal, always(created())) as (client, server):
        report = await client.create_package(batch(), deadline=in_a_minute())
        read = await client.list_pending_items(PROJECT, "ws1")

    assert isinstance(report.outcome, NotSent)
    assert report.outcome.cause is NotSentCause.AUTHENTICATION
    assert report.sent_at is None
    assert getattr(read, "reason", None) == report.outcome
    assert server.connections == []
