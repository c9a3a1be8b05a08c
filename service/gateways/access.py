"""Access to the vendor: who we are to it, its client, and leave to call it, which all processes share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from hashlib import sha256

from redis.asyncio import Redis

from service.core.config import Settings
from service.core.credentials import Credentials
from service.core.errors import ConfigurationError
from service.core.leasing import LeaseTimes
from service.core.limiter_memory import LimiterMemory
from service.gateways.limiter_view import LimiterView
from service.gateways.limits import CHANGE_PACKAGE, CREATE_PACKAGE, READ, Credential, Limits
from service.gateways.permits import Permits
from service.gateways.room import Room
from service.gateways.store.database import Database
from service.gateways.store.limiter_memory import recall
from service.gateways.vendor.client import VendorClient
from service.gateways.vendor.config import Auth, TokenCredentials, VendorConfig
from service.gateways.vendor.endpoints import base_url_of
from service.gateways.vendor.hooks import NO_HOOKS, Hooks

#: Calls of callers of one process that wait for others to end.
_MOST_WAITING = 64
#: Of the backoff base: how often one failed call may be repeated whatever else happens.
_RETRY_PERIOD = 6
#: What a permit that nobody hands back lasts beyond the time in which its call ends.
_AROUND_A_CALL = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorAccess:
    """The vendor's client, and leave for its operations, each limited alone."""

    client: VendorClient
    creates: Permits
    #: What is left of the creates, for those who only look.
    view: LimiterView
    reads: Permits
    #: Of packages that are there: their deployment and their end.
    changes: Permits
    #: For the calls of callers.
    room: Room


@dataclass(frozen=True, slots=True, kw_only=True)
class NoVendor:
    """Why a process has no access to the vendor."""

    reason: str


@asynccontextmanager
async def open_vendor(
    settings: Settings,
    config: VendorConfig,
    *,
    redis: Redis,
    database: Database,
    hooks: Hooks = NO_HOOKS,
) -> AsyncIterator[VendorAccess]:
    """Open connections to the vendor, which are made when they are needed, and the limiter's permits."""
    limits = limits_of(settings)
    of_others = replace(limits, workspace_rate=0, workspace_concurrency=0, breaker=None)
    permits = partial(
        Permits, redis, credential=credential_of(config.auth), recall=partial(recall_limits, database)
    )
    async with VendorClient(config, hooks=hooks) as client:
        yield VendorAccess(
            client=client,
            creates=permits(limits, operation=CREATE_PACKAGE),
            view=LimiterView(redis, limits, credential=credential_of(config.auth)),
            reads=permits(of_others, operation=READ),
            changes=permits(of_others, operation=CHANGE_PACKAGE),
            room=Room(calls=settings.vendor_concurrency, waiting=_MOST_WAITING),
        )


def vendor_config(settings: Settings, credentials: Credentials | None) -> VendorConfig:
    """Put together where the vendor is and who we are to it.

    Raises:
        ConfigurationError: something of it is not set; the message says what.
    """
    region = settings.region or (credentials.region if credentials else None)
    url = settings.vendor_url or (base_url_of(region) if region else None)
    if url is None:
        raise ConfigurationError(
            "RELEASE_REGION is not set: expected a region such as cn-north-4, or RELEASE_VENDOR_URL"
        )
    return VendorConfig(
        base_url=url,
        auth=_auth_of(settings, credentials),
        read_timeout=settings.call_timeout,
        call_timeout=settings.call_timeout,
        max_connections=settings.vendor_concurrency + 8,
    )


def _auth_of(settings: Settings, credentials: Credentials | None) -> Auth:
    match settings.vendor_auth:
        case "none":
            return None
        case "aksk":
            if credentials is None:
                raise ConfigurationError(
                    "no vendor credentials found: expected HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK, "
                    "or another of the places in docs/configuration.md"
                )
            return credentials.key
        case "token":
            if not (settings.iam_url and settings.iam_user and settings.iam_password and settings.iam_domain):
                raise ConfigurationError(
                    "RELEASE_VENDOR_AUTH=token needs RELEASE_IAM_URL, RELEASE_IAM_USER, RELEASE_IAM_PASSWORD "
                    "and RELEASE_IAM_DOMAIN; one of them is not set"
                )
            return TokenCredentials(
                iam_url=settings.iam_url,
                user=settings.iam_user,
                password=settings.iam_password.get_secret_value(),
                domain=settings.iam_domain,
            )


def limits_of(settings: Settings) -> Limits:
    """Return the limits that all workers share."""
    return Limits(
        rate=settings.vendor_rate,
        workspace_rate=settings.workspace_rate,
        concurrency=settings.vendor_concurrency,
        permit_life=LeaseTimes.of(settings).is_quiet_after + _AROUND_A_CALL,
        workspace_concurrency=settings.workspace_concurrency,
        retry_share=settings.retry_budget,
        retry_period=settings.backoff_base * _RETRY_PERIOD,
        breaker=settings.breaker_policy,
    )


async def recall_limits(database: Database, credential: str) -> LimiterMemory:
    """Return what is known in Postgres of what holds the calls of a credential back.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    async with database.connection() as connection:
        return await recall(connection, credential)


def credential_of(auth: Auth) -> Credential:
    """Name a credential in Redis without showing it."""
    match auth:
        case None:
            return Credential(name="none", key_digest="none", has_to_prove_itself=False)
        case TokenCredentials():
            identity, secret = f"{auth.domain}/{auth.user}", auth.password
        case _:
            identity, secret = auth.access_key, auth.secret_key
    return Credential(name=_digest(identity), key_digest=_digest(f"{identity}\n{secret}"))


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]
