"""What operators settle for a workspace: its own settings, a pause, a flush."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Self

from service.core.config import Settings
from service.core.planning import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSettings:
    """What a workspace has of its own; None is as the deployment has it."""

    max_items: int | None = None
    quiet: timedelta | None = None
    linger: timedelta | None = None
    #: Calls a second; 0 is no limit of its own.
    rate: float | None = None
    #: Calls at once; 0 is no limit of its own.
    concurrency: int | None = None

    def window(self, default: Window) -> Window:
        """Return the batching window of the workspace."""
        return Window(
            max_items=default.max_items if self.max_items is None else self.max_items,
            quiet=default.quiet if self.quiet is None else self.quiet,
            linger=default.linger if self.linger is None else self.linger,
        )

    def filled(self, settings: Settings) -> "EffectiveSettings":
        """Return what the workspace goes by."""
        window = self.window(settings.window)
        return EffectiveSettings(
            max_items=window.max_items,
            quiet_seconds=window.quiet.total_seconds(),
            linger_seconds=window.linger.total_seconds(),
            rate=settings.workspace_rate if self.rate is None else self.rate,
            concurrency=settings.workspace_concurrency if self.concurrency is None else self.concurrency,
        )


#: Of a workspace that has nothing of its own.
NOTHING_OWN = OwnSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveSettings:
    """What a workspace goes by, its own settings and the deployment's for the rest."""

    max_items: int
    quiet_seconds: float
    linger_seconds: float
    rate: float
    concurrency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Governance:
    """All that operators have settled for a workspace."""

    own: OwnSettings = NOTHING_OWN
    paused_at: datetime | None = None
    paused_reason: str | None = None
    resumed_at: datetime | None = None
    flushed_at: datetime | None = None

    @property
    def is_paused(self) -> bool:
        """Whether nothing of the workspace is sent."""
        return self.paused_at is not None

    def with_own(self, own: OwnSettings) -> Self:
        """Return it with these settings of its own."""
        return replace(self, own=own)

    def paused(self, now: datetime, reason: str | None) -> Self:
        """Return it paused; a pause that lasts already stays as it began."""
        return self if self.is_paused else replace(self, paused_at=now, paused_reason=reason)

    def resumed(self, now: datetime) -> Self:
        """Return it without a pause."""
        return replace(self, paused_at=None, paused_reason=None, resumed_at=now) if self.is_paused else self

    def flushed(self, now: datetime) -> Self:
        """Return it with the windows closed over what waits."""
        return replace(self, flushed_at=now)

    def described(self) -> Mapping[str, object]:
        """Say it in the words of the API, for the audit trail."""
        own = self.own
        return {
            "settings": {
                "max_items": own.max_items,
                "quiet_seconds": _seconds(own.quiet),
                "linger_seconds": _seconds(own.linger),
                "rate": own.rate,
                "concurrency": own.concurrency,
            },
            "paused": self.is_paused,
            "paused_at": _written(self.paused_at),
            "paused_reason": self.paused_reason,
            "flushed_at": _written(self.flushed_at),
        }


def _written(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _seconds(period: timedelta | None) -> float | None:
    return None if period is None else period.total_seconds()
