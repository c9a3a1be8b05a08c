"""The settings: read once, checked at start, never read again.

Where each comes from is in ``sources``. A bad value stops the start with the name, what was expected and what was
given; so does a name that is nearly one of ours.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from service.core.addresses import host_of, is_base_url, is_loopback, origin_of
from service.core.backoff import Backoff
from service.core.breakers import BreakerPolicy
from service.core.caps import Caps
from service.core.errors import ConfigurationError
from service.core.failpoint import FailpointName
from service.core.periods import Days, Seconds, SecondsOrNone
from service.core.planning import VENDOR_MAX_ITEMS, Window
from service.core.reconciling import ReconcilePolicy
from service.core.sealing import SealingKey
from service.core.sourced import Sourced
from service.core.sources import SECRETS_DIRECTORY, find_settings, misspelt
from service.core.submission import Defaults
from service.core.verdict import RetryPolicy
from service.core.wording import sentence_of

#: Five wrong signatures lock the vendor's key for five minutes, so it is asked at most once a minute.
AUTHENTICATION_PAUSE = timedelta(seconds=60)
#: Of the backoff base: the first pause of a breaker.
_FIRST_PROBE_AFTER = 5
_LONGEST_PROBE_PAUSE = timedelta(seconds=60)
#: Whatever the settle time: absence that ends a request is seen for so long, since nobody looks again after that.
_LEAST_PATIENCE = timedelta(seconds=15)
_NO_DATABASE = "RELEASE_DATABASE_URL is not set: expected postgresql://user@host/database"
_NO_REDIS = "RELEASE_REDIS_URL is not set: expected redis://host:6379/0"
_SECRET_WORDS = ("PASSWORD", "SECRET", "KEY", "TOKEN", "URL")


Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]


class Settings(Sourced):
    """Every setting, under the name of its environment variable."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, populate_by_name=True)

    database_url: Annotated[SecretStr | None, Field(alias="RELEASE_DATABASE_URL")] = None
    redis_url: Annotated[SecretStr | None, Field(alias="RELEASE_REDIS_URL")] = None
    http_host: Annotated[Text, Field(alias="RELEASE_HTTP_HOST")] = "127.0.0.1"
    http_port: Annotated[int, Field(alias="RELEASE_HTTP_PORT", ge=0, le=65535)] = 8080
    max_connections: Annotated[int, Field(alias="RELEASE_MAX_CONNECTIONS", ge=16, le=100_000)] = 2_500
    worker_http_port: Annotated[int, Field(alias="RELEASE_WORKER_HTTP_PORT", ge=0, le=65535)] = 0
    auth: Annotated[Literal["keys", "off"], Field(alias="RELEASE_AUTH")] = "keys"
    secret_key: Annotated[SealingKey | None, Field(alias="RELEASE_SECRET_KEY")] = None
    key_rate: Annotated[Rate, Field(alias="RELEASE_KEY_RATE")] = 0.0
    vendor_url: Annotated[Text | None, Field(alias="RELEASE_VENDOR_URL")] = None
    region: Annotated[Text | None, Field(alias="RELEASE_REGION")] = None
    project_id: Annotated[Text | None, Field(alias="RELEASE_PROJECT_ID")] = None
    default_workspace: Annotated[Text | None, Field(alias="RELEASE_DEFAULT_WORKSPACE")] = None
    vendor_auth: Annotated[Literal["aksk", "token", "none"], Field(alias="RELEASE_VENDOR_AUTH")] = "aksk"
    iam_url: Annotated[Text | None, Field(alias="RELEASE_IAM_URL")] = None
    iam_user: Annotated[Text | None, Field(alias="RELEASE_IAM_USER")] = None
    iam_password: Annotated[SecretStr | None, Field(alias="RELEASE_IAM_PASSWORD")] = None
    iam_domain: Annotated[Text | None, Field(alias="RELEASE_IAM_DOMAIN")] = None
    allow_self_approval: Annotated[bool, Field(alias="RELEASE_ALLOW_SELF_APPROVAL")] = False
    batch_max_items: Annotated[int, Field(alias="RELEASE_BATCH_MAX_ITEMS", ge=1, le=VENDOR_MAX_ITEMS)] = 100
    batch_quiet: Annotated[SecondsOrNone, Field(alias="RELEASE_BATCH_QUIET_SECONDS")] = timedelta(seconds=0.2)
    batch_linger: Annotated[SecondsOrNone, Field(alias="RELEASE_BATCH_LINGER_SECONDS")] = timedelta(seconds=2)
    vendor_rate: Annotated[Rate, Field(alias="RELEASE_VENDOR_RATE")] = 8.0
    workspace_rate: Annotated[Rate, Field(alias="RELEASE_WORKSPACE_RATE")] = 0.0
    vendor_concurrency: Annotated[int, Field(alias="RELEASE_VENDOR_CONCURRENCY", ge=1, le=1_000)] = 16
    workspace_concurrency: Annotated[int, Field(alias="RELEASE_WORKSPACE_CONCURRENCY", ge=0, le=1_000)] = 0
    call_timeout: Annotated[Seconds, Field(alias="RELEASE_CALL_TIMEOUT_SECONDS")] = timedelta(seconds=30)
    lease: Annotated[Seconds, Field(alias="RELEASE_LEASE_SECONDS")] = timedelta(seconds=45)
    grace: Annotated[Seconds, Field(alias="RELEASE_GRACE_SECONDS")] = timedelta(seconds=40)
    max_attempts: Annotated[int, Field(alias="RELEASE_MAX_ATTEMPTS", ge=1, le=1_000)] = 8
    backoff_base: Annotated[Seconds, Field(alias="RELEASE_BACKOFF_BASE_SECONDS")] = timedelta(seconds=1)
    backoff_cap: Annotated[Seconds, Field(alias="RELEASE_BACKOFF_CAP_SECONDS")] = timedelta(seconds=300)
    retry_budget: Annotated[Rate, Field(alias="RELEASE_RETRY_BUDGET", le=100)] = 0.2
    max_age: Annotated[Seconds, Field(alias="RELEASE_MAX_AGE_SECONDS")] = timedelta(days=1)
    settle: Annotated[Seconds, Field(alias="RELEASE_SETTLE_SECONDS")] = timedelta(seconds=60)
    recheck: Annotated[Seconds, Field(alias="RELEASE_RECHECK_SECONDS")] = timedelta(seconds=3)
    reconcile_budget: Annotated[Seconds, Field(alias="RELEASE_RECONCILE_SECONDS")] = timedelta(seconds=900)
    in_doubt: Annotated[Literal["resend", "park"], Field(alias="RELEASE_IN_DOUBT")] = "resend"
    max_waiting: Annotated[int, Field(alias="RELEASE_MAX_WAITING", ge=1)] = 1_000_000
    max_waiting_per_workspace: Annotated[int, Field(alias="RELEASE_MAX_WAITING_PER_WORKSPACE", ge=1)] = (
        100_000
    )
    retention: Annotated[Days, Field(alias="RELEASE_RETENTION_DAYS")] = timedelta(days=30)
    sweep_period: Annotated[Seconds, Field(alias="RELEASE_SWEEP_SECONDS")] = timedelta(seconds=2)
    audit_period: Annotated[SecondsOrNone, Field(alias="RELEASE_AUDIT_SECONDS")] = timedelta(seconds=300)
    facade_wait: Annotated[Seconds, Field(alias="RELEASE_FACADE_WAIT_SECONDS")] = timedelta(seconds=50)
    queue: Annotated[Text, Field(alias="RELEASE_QUEUE")] = "release:requests"
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Field(alias="RELEASE_LOG_LEVEL")] = (
        "info"
    )
    log_format: Annotated[Literal["json", "console"] | None, Field(alias="RELEASE_LOG_FORMAT")] = None
    tracing: Annotated[Literal["off", "otlp"], Field(alias="RELEASE_TRACING")] = "off"
    failpoint: Annotated[FailpointName | None, Field(alias="RELEASE_FAILPOINT")] = None

    @classmethod
    def from_env(cls, environment: Mapping[str, str], *, secrets: Path = SECRETS_DIRECTORY) -> Self:
        """Read and check all settings.

        Raises:
            ConfigurationError: one or more are wrong; the message names each with what was expected and given.
        """
        slips = [f"{given}: expected {meant}" for given, meant in misspelt(environment, _names())]
        if slips:
            raise ConfigurationError("; ".join(slips))
        found = find_settings(_names(), environment, secrets)
        try:
            return cls.model_validate(
                {name: one.text for name, one in found.items()},
                context={name: one.source for name, one in found.items()},
            )
        except ValidationError as error:
            raise ConfigurationError("; ".join(_sentences(error))) from None

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        faults = [*_time_faults(self), *_exposure_faults(self), *_server_faults(self)]
        if faults:
            raise PydanticCustomError("settings", "{faults}", {"faults": "; ".join(faults)})
        return self

    @property
    def window(self) -> Window:
        """The batching window of workspaces without settings of their own."""
        return Window(max_items=self.batch_max_items, quiet=self.batch_quiet, linger=self.batch_linger)

    @property
    def caps(self) -> Caps:
        """How much may wait."""
        return Caps(total=self.max_waiting, workspace=self.max_waiting_per_workspace)

    @property
    def retry_policy(self) -> RetryPolicy:
        """How failed calls are repeated."""
        return RetryPolicy(
            max_attempts=self.max_attempts,
            backoff=Backoff(base=self.backoff_base, cap=self.backoff_cap),
            authentication_pause=AUTHENTICATION_PAUSE,
            settle=self.settle,
            max_age=self.max_age,
        )

    @property
    def breaker_policy(self) -> BreakerPolicy:
        """How long a breaker that opened by failures waits for its probes."""
        return BreakerPolicy(
            pause=self.backoff_base * _FIRST_PROBE_AFTER, cap=min(_LONGEST_PROBE_PAUSE, self.backoff_cap)
        )

    @property
    def reconcile_policy(self) -> ReconcilePolicy:
        """How patiently doubts are settled."""
        return ReconcilePolicy(
            recheck=self.recheck,
            patience=max(self.settle, _LEAST_PATIENCE),
            budget=self.reconcile_budget,
            is_resent=self.in_doubt == "resend",
        )

    @property
    def defaults(self) -> Defaults:
        """What fills the gaps of a request's body."""
        return Defaults(
            project_id=self.project_id,
            workspace=self.default_workspace,
            is_self_approval_allowed=self.allow_self_approval,
        )

    def require_database(self) -> str:
        """Return the address of PostgreSQL.

        Raises:
            ConfigurationError: it is not set.
        """
        if self.database_url is None:
            raise ConfigurationError(_NO_DATABASE)
        return self.database_url.get_secret_value()

    def require_servers(self) -> tuple[str, str]:
        """Return the addresses of PostgreSQL and Redis.

        Raises:
            ConfigurationError: one or both are not set; the message says which.
        """
        if self.redis_url is None:
            raise ConfigurationError(
                f"{_NO_DATABASE}; {_NO_REDIS}" if self.database_url is None else _NO_REDIS
            )
        return self.require_database(), self.redis_url.get_secret_value()


def _names() -> list[str]:
    return [str(field.alias) for field in Settings.model_fields.values()]


def _sentences(error: ValidationError) -> Iterator[str]:
    for entry in error.errors(include_url=False):
        if entry["loc"]:
            yield f"{entry['loc'][0]}: {sentence_of(_without_secret(entry))}"
        else:
            yield entry["msg"]


def _without_secret(entry: ErrorDetails) -> ErrorDetails:
    if not any(word in str(entry["loc"][0]) for word in _SECRET_WORDS):
        return entry
    return {**entry, "ctx": {**entry.get("ctx", {}), "given": "a value that is not shown"}}


def _time_faults(settings: Settings) -> Iterator[str]:
    longest = settings.call_timeout
    for name, period in (
        ("RELEASE_LEASE_SECONDS", settings.lease),
        ("RELEASE_GRACE_SECONDS", settings.grace),
    ):
        if period <= longest:
            yield (
                f"{name}: expected more than RELEASE_CALL_TIMEOUT_SECONDS, {longest.total_seconds():g}; "
                f"given {period.total_seconds():g}"
            )


def _exposure_faults(settings: Settings) -> Iterator[str]:
    if settings.auth == "off" and not is_loopback(settings.http_host):
        yield (
            f"RELEASE_AUTH: expected keys, since RELEASE_HTTP_HOST {settings.http_host!r} is not a loopback "
            "address; given off"
        )
    for name, url in (("RELEASE_VENDOR_URL", settings.vendor_url), ("RELEASE_IAM_URL", settings.iam_url)):
        if url is not None and not is_base_url(url):
            yield (
                f"{name}: expected https://host, or http to a loopback address, without user, query and "
                f"fragment; given {origin_of(url)}"
            )
    if is_loopback(host_of(settings.vendor_url or "")):
        return
    if settings.vendor_auth == "none":
        yield (
            "RELEASE_VENDOR_AUTH: expected aksk or token, since RELEASE_VENDOR_URL is not a loopback address; "
            "given none"
        )
    if settings.failpoint is not None:
        yield (
            "RELEASE_FAILPOINT: expected none, since RELEASE_VENDOR_URL is not a loopback address; "
            f"given {settings.failpoint}"
        )


def _server_faults(settings: Settings) -> Iterator[str]:
    for name, secret, schemes in (
        ("RELEASE_DATABASE_URL", settings.database_url, ("postgresql", "postgres")),
        ("RELEASE_REDIS_URL", settings.redis_url, ("redis", "rediss", "unix")),
    ):
        if secret is not None and secret.get_secret_value().partition("://")[0] not in schemes:
            yield f"{name}: expected an address that begins with {schemes[0]}://; given one that does not"
