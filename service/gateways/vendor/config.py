"""How to reach the vendor and how long to wait for it."""

from dataclasses import dataclass, field
from datetime import timedelta

from service import __version__
from service.core.signing import AccessKey


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCredentials:
    """An IAM user whose password buys tokens.

    Attributes:
        iam_url: Base URL of IAM, for example the region's ``https://iam.{region}.myhuaweicloud.com``.
        user: Name of the IAM user.
        password: The user's password.
        domain: Name of the account that the user belongs to.
    """

    iam_url: str
    user: str
    password: str = field(repr=False)
    domain: str


Auth = AccessKey | TokenCredentials | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorConfig:
    """Where the vendor is, who we are to it, and the bounds of every call.

    Attributes:
        base_url: Scheme, host and port; a path in it comes before the API's own.
        auth: An access key, an IAM user, or None for a loopback double without authentication.
        connect_timeout: Longest wait for a connection: name, TCP and TLS together.
        read_timeout: Longest silence while an answer is awaited or read.
        call_timeout: Longest time of one call in all.
        max_answer_bytes: Longest answer to a create that is read.
        max_list_bytes: Longest answer to a read that is read.
        keepalive: How long an idle connection is kept for the next call.
        max_connections: Most connections at once.
        trust_env: Whether ``HTTPS_PROXY`` and its kin are obeyed; never for loopback.
        user_agent: The ``User-Agent`` header.
    """

    base_url: str
    auth: Auth = field(repr=False)
    connect_timeout: timedelta = timedelta(seconds=10)
    read_timeout: timedelta = timedelta(seconds=30)
    call_timeout: timedelta = timedelta(seconds=30)
    max_answer_bytes: int = 1 << 20
    max_list_bytes: int = 16 << 20
    keepalive: timedelta = timedelta(seconds=15)
    max_connections: int = 100
    trust_env: bool = True
    user_agent: str = f"batch-release/{__version__}"
