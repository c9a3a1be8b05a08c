"""IAM tokens: bought once, replaced ahead, dropped when refused."""

import asyncio
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from service.core.outcomes import NotSent, NotSentCause
from service.gateways.vendor.exchange import Exchange
from service.gateways.vendor.iam import Token, refresh_after
from service.gateways.vendor.tokens import TokenSource
from tests.gateways.vendor.iam import (
    DAY,
    PASSWORD,
    Iam,
    credentials_at,
    iam_time,
    source_at,
    value_of,
)
from tests.gateways.vendor.raw_server import (
    always,
    http_answer,
)
from tests.gateways.vendor.samples import PROJECT, config
from tests.support.waiting import eventually


async def test_fifty_callers_share_one_token() -> None:
    """However many ask at once, IAM is asked once."""
    iam = Iam()
    async with source_at(iam.serve) as source:
        iam.may_answer.clear()
        asked = [asyncio.create_task(source.token_for(PROJECT)) for _ in range(50)]
        await eventually(lambda: iam.bodies)
        iam.may_answer.set()
        tokens = await asyncio.gather(*asked)
        tokens.append(await source.token_for(PROJECT))

    assert {"token-1"} == {value_of(token) for token in tokens}
    assert iam.sold == 1


async def test_fifty_refused_callers_buy_one_new_token() -> None:
    """When a token is refused to many, the first drops it and they share its successor."""
    iam = Iam()
    async with source_at(iam.serve) as source:
        first = await source.token_for(PROJECT)
        assert isinstance(first, Token)

        async def refused() -> Token | NotSent:
            source.invalidate(first)
            return await source.token_for(PROJECT)

        tokens = await asyncio.gather(*(refused() for _ in range(50)))
        source.invalidate(first)
        tokens.append(await source.token_for(PROJECT))

    assert {"token-2"} == {value_of(token) for token in tokens}
    assert iam.sold == 2


async def test_a_token_belongs_to_its_project() -> None:
    """Tokens are scoped to a project, so each project buys its own, with the vendor's body."""
    iam = Iam()
    async with source_at(iam.serve) as source:
        values = {value_of(await source.token_for(project)) for project in ("p1", "p2")}

    user = {"name": "ann", "password": PASSWORD, "domain": {"name": "acme"}}
    identity = {"methods": ["password"], "password": {"user": user}}
    assert values == {"token-1", "token-2"}
    assert iam.bodies[0] == {"auth": {"identity": identity, "scope": {"project": {"id": "p1"}}}}


async def test_a_cancelled_caller_does_not_cancel_the_others() -> None:
    """The caller who asked first may go; the others still get the token that was asked for."""
    iam = Iam()
    async with source_at(iam.serve) as source:
        iam.may_answer.clear()
        first = asyncio.create_task(source.token_for(PROJECT))
        await eventually(lambda: iam.bodies)
        second = asyncio.create_task(source.token_for(PROJECT))
        first.cancel()
        await asyncio.wait([first])
        iam.may_answer.set()
        token = await second

    assert value_of(token) == "token-1"
    assert iam.sold == 1


@pytest.mark.parametrize(
    ("life", "age"),
    [
        (DAY, timedelta(hours=23, minutes=30)),
        (timedelta(hours=1), timedelta(minutes=54)),
        (timedelta(minutes=10), timedelta(minutes=9)),
        (timedelta(0), timedelta(0)),
    ],
)
def test_a_token_is_replaced_ahead(life: timedelta, age: timedelta) -> None:
    """A token is replaced half an hour before its end; a short-lived one after 90 % of its life."""
    assert age == refresh_after(life)


async def test_an_expired_token_is_replaced() -> None:
    """A token past its age is not handed out again."""
    iam = Iam(life=timedelta(0))
    async with source_at(iam.serve) as source:
        values = [value_of(await source.token_for(PROJECT)) for _ in range(2)]

    assert values == ["token-1", "token-2"]


async def test_the_life_does_not_depend_on_our_clock() -> None:
    """A token of a vendor whose clock is years ahead lives as long as IAM said."""
    async with source_at(Iam(life=timedelta(minutes=10)).serve) as source:
        token = await source.token_for(PROJECT)

    assert isinstance(token, Token)
    assert token.expires_at - token.refresh_at == pytest.approx(60)


async def test_a_life_without_a_beginning_counts_from_now() -> None:
    """Where IAM says only when a token ends, its life is counted by our clock."""
    end = orjson.dumps({"token": {"expires_at": iam_time(datetime.now(UTC) + timedelta(minutes=10))}})
    async with source_at(always(http_answer(201, end, x_subject_token="t"))) as source:
        token = await source.token_for(PROJECT)

    assert isinstance(token, Token)
    assert token.expires_at - token.refresh_at == pytest.approx(60, abs=1)


async def test_a_good_token_outlives_an_outage_of_iam() -> None:
    """A token that is due for replacement but still good is used on while IAM fails."""
    iam = Iam(life=timedelta(seconds=2))
    async with source_at(iam.serve) as source:
        first = await source.token_for(PROJECT)
        assert isinstance(first, Token)
        iam.refusal = http_answer(503, b"")
        loop = asyncio.get_running_loop()
        await eventually(lambda: loop.time() >= first.refresh_at)
        second = await source.token_for(PROJECT)
        asked = len(iam.bodies)
        third = await source.token_for(PROJECT)

    assert (value_of(second), value_of(third)) == ("token-1", "token-1")
    assert asked == len(iam.bodies) == 2


@pytest.mark.parametrize(
    ("refusal", "cause"),
    [
        (
            http_answer(401, b'{"error":{"code":401,"message":"The username or password is wrong."}}'),
            "authentication",
        ),
        (http_answer(400, b"{}"), "authentication"),
        (http_answer(403, b""), "authentication"),
        (http_answer(429, b""), "unavailable"),
        (http_answer(500, b""), "unavailable"),
        (http_answer(503, b"<html>"), "unavailable"),
        (http_answer(302, b"", location="http://127.0.0.1:1/"), "unavailable"),
        (http_answer(200, b"{}", x_subject_token="t"), "unavailable"),
        (http_answer(201, b"{}"), "unavailable"),
    ],
)
async def test_a_refusal_of_iam_is_a_value(refusal: bytes, cause: str) -> None:
    """What IAM refuses comes back as a call that was not sent, with the cause and without the password."""
    async with source_at(always(refusal)) as source:
        token = await source.token_for(PROJECT)

    assert isinstance(token, NotSent)
    assert NotSentCause(cause) is token.cause
    assert PASSWORD not in repr(token)


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"token":1}', b'{"token":{"expires_at":"soon","issued_at":7}}']
)
async def test_a_token_with_an_unreadable_life_is_used(body: bytes) -> None:
    """A token in the header is good even if the body does not say for how long."""
    async with source_at(always(http_answer(201, body, x_subject_token="t"))) as source:
        token = await source.token_for(PROJECT)

    assert value_of(token) == "t"


async def test_an_unreachable_iam_is_a_value() -> None:
    """No connection to IAM is a call that was not sent, for everybody who waited for it."""
    async with Exchange(config("http://127.0.0.1:1")) as exchange:
        source = TokenSource(exchange, credentials_at("http://127.0.0.1:1"))
        tokens = await asyncio.gather(*(source.token_for(PROJECT) for _ in range(5)))

    assert {NotSentCause.UNREACHABLE} == {token.cause for token in tokens if isinstance(token, NotSent)}
    assert len(tokens) == 5


async def test_closing_gives_up_an_open_call() -> None:
    """Closing does not wait for IAM."""
    iam = Iam()
    iam.may_answer.clear()
    async with source_at(iam.serve) as source:
        asked = asyncio.create_task(source.token_for(PROJECT))
        await eventually(lambda: iam.bodies)
        await source.close()
        await asyncio.wait([asked])

    assert asked.cancelled()
