"""The exceptions of the service: only for what is broken. Expected outcomes are values (see ``outcomes``).

ServiceError
├── ConfigurationError      a setting is missing or wrong; the start is refused
├── Unavailable             a part that we need does not answer
│   ├── DatabaseUnavailable
│   ├── QueueUnavailable
│   ├── SecretUnreadable    RELEASE_SECRET_KEY does not open the secret of an access key
│   ├── Overloaded          more is asked of this process than it can do
│   └── VendorBusy          the shared limiter lets no read through soon
├── AccessError             PostgreSQL answers, and does not let us in
├── MigrationError          the schema cannot be brought to where the code needs it
└── EmbeddedServerError     a bundled server did not start
"""


class ServiceError(Exception):
    """Something is broken; the message says what and what to do."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class ConfigurationError(ServiceError):
    """A setting is missing or wrong."""


class Unavailable(ServiceError):  # noqa: N818 - a condition that passes, not a fault of ours
    """A part that the service needs does not answer."""


class DatabaseUnavailable(Unavailable):
    """PostgreSQL does not answer."""


class AccessError(ServiceError):
    """PostgreSQL answers, and does not let us in."""


class QueueUnavailable(Unavailable):
    """Redis does not answer."""


class SecretUnreadable(Unavailable):
    """The secret of an access key cannot be read."""


class Overloaded(Unavailable):
    """More is asked of this process than it can do."""


class VendorBusy(Unavailable):
    """The limiter lets no read of the vendor's lists through soon."""


class MigrationError(ServiceError):
    """The schema cannot be brought to where this version needs it."""


class EmbeddedServerError(ServiceError):
    """A bundled server did not start."""
