"""The settings: read once, checked at start, never read again.

A setting ``NAME`` comes from the environment, else from the file that ``NAME_FILE`` names, else from
``/run/secrets/NAME``. A bad value stops the start with the name, what was expected and what was given.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from service.core.backoff import Backoff
from service.core.errors import ConfigurationError
from service.core.planning import VENDOR_MAX_ITEMS, Window
from service.core.submission import Defaults
from service.core.verdict import RetryPolicy

SECRETS_DIRECTORY = Path("/run/secrets")
#: Five wrong signatures lock the vendor's key for five minutes, so it is asked at most once a minute.
AUTHENTICATION_PAUSE = timedelta(seconds=60)
_SECRET_WORDS = ("PASSWORD", "SECRET", "KEY", "TOKEN", "URL")


def _seconds(value: object) -> object:
    if not isinstance(value, int | float | str):
        return value
    try:
        return timedelta(seconds=float(value))
    except (ValueError, OverflowError):
        raise ValueError("expected a number of seconds") from None


Seconds = Annotated[timedelta, BeforeValidator(_seconds), Field(gt=timedelta(0))]
SecondsOrNone = Annotated[timedelta, BeforeValidator(_seconds), Field(ge=timedelta(0))]
Text = Annotated[str, Field(min_length=1)]


class Settings(BaseModel):
    """Every setting, under the name of its environment variable."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, populate_by_name=True)

    database_url: Annotated[SecretStr | None, Field(alias="RELEASE_DATABASE_URL")] = None
    redis_url: Annotated[SecretStr | None, Field(alias="RELEASE_REDIS_URL")] = None
    http_host: Annotated[Text, Field(alias="RELEASE_HTTP_HOST")] = "127.0.0.1"
    http_port: Annotated[int, Field(alias="RELEASE_HTTP_PORT", ge=0, le=65535)] = 8080
    auth: Annotated[Literal["keys", "off"], Field(alias="RELEASE_AUTH")] = "keys"
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
    vendor_rate: Annotated[float, Field(alias="RELEASE_VENDOR_RATE", ge=0)] = 8.0
    workspace_rate: Annotated[float, Field(alias="RELEASE_WORKSPACE_RATE", ge=0)] = 0.0
    vendor_concurrency: Annotated[int, Field(alias="RELEASE_VENDOR_CONCURRENCY", ge=1, le=1_000)] = 16
    call_timeout: Annotated[Seconds, Field(alias="RELEASE_CALL_TIMEOUT_SECONDS")] = timedelta(seconds=30)
    lease: Annotated[Seconds, Field(alias="RELEASE_LEASE_SECONDS")] = timedelta(seconds=45)
    grace: Annotated[Seconds, Field(alias="RELEASE_GRACE_SECONDS")] = timedelta(seconds=40)
    max_attempts: Annotated[int, Field(alias="RELEASE_MAX_ATTEMPTS", ge=1, le=1_000)] = 8
    backoff_base: Annotated[Seconds, Field(alias="RELEASE_BACKOFF_BASE_SECONDS")] = timedelta(seconds=1)
    backoff_cap: Annotated[Seconds, Field(alias="RELEASE_BACKOFF_CAP_SECONDS")] = timedelta(seconds=300)
    sweep_period: Annotated[Seconds, Field(alias="RELEASE_SWEEP_SECONDS")] = timedelta(seconds=2)
    queue: Annotated[Text, Field(alias="RELEASE_QUEUE")] = "release:requests"
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Field(alias="RELEASE_LOG_LEVEL")] = (
        "info"
    )
    log_format: Annotated[Literal["json", "console"] | None, Field(alias="RELEASE_LOG_FORMAT")] = None

    @classmethod
    def from_env(cls, environment: Mapping[str, str], *, secrets: Path = SECRETS_DIRECTORY) -> Self:
        """Read and check all settings.

        Raises:
            ConfigurationError: one or more are wrong; the message names each with what was expected and given.
        """
        try:
            return cls.model_validate(dict(_read_all(environment, secrets)))
        except ValidationError as error:
            raise ConfigurationError("; ".join(_sentences(error))) from None

    @model_validator(mode="after")
    def _check_times(self) -> Self:
        for name, period in (("RELEASE_LEASE_SECONDS", self.lease), ("RELEASE_GRACE_SECONDS", self.grace)):
            if period <= self.call_timeout:
                longest, given = self.call_timeout.total_seconds(), period.total_seconds()
                raise ValueError(
                    f"{name} must exceed RELEASE_CALL_TIMEOUT_SECONDS ({longest:g}); given {given:g}"
                )
        return self

    @model_validator(mode="after")
    def _check_exposure(self) -> Self:
        if self.auth == "off" and not is_loopback(self.http_host):
            raise ValueError(f"RELEASE_AUTH=off needs a loopback RELEASE_HTTP_HOST; given {self.http_host!r}")
        address = urlsplit(self.vendor_url or "https://")
        is_local = is_loopback(address.hostname or "")
        if address.scheme not in ("https", "http") or (address.scheme == "http" and not is_local):
            raise ValueError(
                "RELEASE_VENDOR_URL must be https, or http to a loopback address; "
                f"given {address.scheme}://{address.hostname}"
            )
        if self.vendor_auth == "none" and not is_local:
            raise ValueError("RELEASE_VENDOR_AUTH=none needs a RELEASE_VENDOR_URL on a loopback address")
        return self

    @property
    def window(self) -> Window:
        """The batching window of workspaces without settings of their own."""
        return Window(max_items=self.batch_max_items, quiet=self.batch_quiet, linger=self.batch_linger)

    @property
    def retry_policy(self) -> RetryPolicy:
        """How failed calls are repeated."""
        return RetryPolicy(
            max_attempts=self.max_attempts,
            backoff=Backoff(base=self.backoff_base, cap=self.backoff_cap),
            authentication_pause=AUTHENTICATION_PAUSE,
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
            raise ConfigurationError(
                "RELEASE_DATABASE_URL is not set: expected postgresql://user@host/database"
            )
        return self.database_url.get_secret_value()

    def require_servers(self) -> tuple[str, str]:
        """Return the addresses of PostgreSQL and Redis.

        Raises:
            ConfigurationError: one is not set; the message says which.
        """
        if self.database_url is None:
            raise ConfigurationError(
                "RELEASE_DATABASE_URL is not set: expected postgresql://user@host/database"
            )
        if self.redis_url is None:
            raise ConfigurationError("RELEASE_REDIS_URL is not set: expected redis://host:6379/0")
        return self.database_url.get_secret_value(), self.redis_url.get_secret_value()


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def read_setting(name: str, environment: Mapping[str, str], secrets: Path = SECRETS_DIRECTORY) -> str | None:
    """Look a setting up in the environment, then in the file that ``NAME_FILE`` names, then among the secrets.

    Raises:
        ConfigurationError: ``NAME_FILE`` names a file that cannot be read.
    """
    if environment.get(name):
        return environment[name]
    named = environment.get(f"{name}_FILE")
    path = Path(named) if named else secrets / name
    if not named and not path.is_file():
        return None
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError as error:
        raise ConfigurationError(
            f"{name}_FILE must name a readable file; given {path}: {error.strerror}"
        ) from None


def _read_all(environment: Mapping[str, str], secrets: Path) -> Iterator[tuple[str, str]]:
    for field in Settings.model_fields.values():
        name = str(field.alias)
        value = read_setting(name, environment, secrets)
        if value is not None:
            yield name, value


def _sentences(error: ValidationError) -> Iterator[str]:
    for entry in error.errors(include_url=False):
        if not entry["loc"]:
            yield str(entry["ctx"]["error"]) if "ctx" in entry else entry["msg"]
            continue
        name = str(entry["loc"][0])
        is_secret = any(word in name for word in _SECRET_WORDS)
        given = "a value that is not shown" if is_secret else repr(entry["input"])
        yield f"{name}: {entry['msg'].removeprefix('Value error, ')}; given {given}"
