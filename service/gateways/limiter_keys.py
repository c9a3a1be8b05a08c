"""The keys of the limiter in Redis, in the order in which each of its scripts takes them."""

from uuid import UUID

from service.gateways.limits import CREATE_PACKAGE, Asking, Credential

_PREFIX = "release:permits"
#: Marks a limiter that has its memory.
BORN = f"{_PREFIX}:born"
#: Lasts for the first second of a limiter that lost it.
SETTLING = f"{_PREFIX}:settling"


def call_member(batch_id: UUID) -> str:
    """Name a call that is under way by its batch: for a limiter that does not know its permit any more."""
    return f"batch:{batch_id.hex}"


class LimiterKeys:
    """Names the keys of one credential's calls of one operation."""

    def __init__(self, credential: Credential, *, operation: str) -> None:
        self._credential = f"{_PREFIX}:{credential.name}"
        self._operation = f"{self._credential}:{operation}"
        self.in_flight = f"{self._operation}:in_flight"
        self.writes = f"{self._operation}:writes"
        self.proven = f"{self._credential}:proven:{credential.key_digest}"
        self._refusals = f"{self._credential}:refusals"
        #: Of a credential that was refused.
        self.breaker = f"{self._credential}:breaker"
        self._created = f"{self._credential}:{CREATE_PACKAGE}"
        #: The places with an open breaker.
        self.open_places = f"{self._created}:open"

    def failure_breaker(self, place: str | None) -> str:
        """Name the breaker of a workspace's failing creates, or of all of the credential's."""
        return f"{self._creates_of(place)}:breaker"

    def in_flight_of(self, asking: Asking) -> str:
        """Name the calls that a workspace has under way."""
        return f"{self._workspace(asking)}:in_flight"

    def creates_in_flight(self, place: str | None) -> str:
        """Name the creates that a workspace has under way, or all of the credential's."""
        return f"{self._creates_of(place)}:in_flight"

    def pause_of(self, place: str | None) -> tuple[str, str]:
        """Name the pause of a workspace's creates, or of all of the credential's, and the slow start after it."""
        scope = self._creates_of(place)
        return f"{scope}:pause", f"{scope}:slow"

    def _creates_of(self, place: str | None) -> str:
        return f"{self._created}:{place}" if place else self._created

    def of_ask(self, asking: Asking) -> list[str]:
        """Return the keys of the script that grants a permit."""
        workspace = self._workspace(asking)
        return [
            BORN,
            SETTLING,
            self._operation,
            workspace,
            self.in_flight,
            f"{self._operation}:queue",
            self.proven,
            self._refusals,
            self.breaker,
            *self._pauses(asking),
            f"{self._operation}:tag:{asking.batch_key.hex}",
            f"{workspace}:tag:{asking.batch_key.hex}",
            f"{workspace}:in_flight",
            f"{workspace}:queue",
            *self._failure_breakers(asking),
            f"{self._operation}:retries",
            f"{self._operation}:back",
            f"{workspace}:back",
        ]

    def of_conclude(self, asking: Asking) -> list[str]:
        """Return the keys of the script that hears of the end of a call."""
        workspace = self._workspace(asking)
        return [
            self.in_flight,
            self.proven,
            self._refusals,
            self.breaker,
            *self._pauses(asking),
            f"{self._operation}:last_throttled",
            f"{workspace}:in_flight",
            *self._failure_breakers(asking),
            f"{self._operation}:retries",
            f"{workspace}:lead",
            f"{self._operation}:active",
            f"{self._operation}:open",
        ]

    def of_write(self, asking: Asking) -> list[str]:
        """Return the keys of the script that lets a call be written."""
        return [
            self.breaker,
            *self._pauses(asking),
            *self._failure_breakers(asking),
            BORN,
            self.in_flight,
            self.writes,
            f"{self._workspace(asking)}:writes",
        ]

    def _pauses(self, asking: Asking) -> list[str]:
        """Name the pauses of both scopes, each with the slow start after it."""
        scopes = (self._operation, self._workspace(asking))
        return [f"{scope}:{name}" for scope in scopes for name in ("pause", "slow")]

    def _failure_breakers(self, asking: Asking) -> list[str]:
        """Name the breakers of both scopes, and when the wide one closed last."""
        scopes = (self._operation, self._workspace(asking))
        return [*(f"{scope}:breaker" for scope in scopes), f"{self._operation}:recovered"]

    def _workspace(self, asking: Asking) -> str:
        return f"{self._operation}:{asking.place}"
