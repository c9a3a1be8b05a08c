"""What an emulator is started with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from service.emulator.faults import Faults

DEFAULT_ACCESS_KEY = "EMULATORACCESSKEY001"
DEFAULT_PROJECT_ID = "62099355b894428e8916573ae635f1f9"


@dataclass(frozen=True, slots=True, kw_only=True)
class IamUser:
    """Somebody who may ask for a token."""

    name: str = "emulator"
    password: str = field(default="emulator-password", repr=False)
    domain: str = "emulator-domain"


def _default_access_keys() -> dict[str, str]:
    return {DEFAULT_ACCESS_KEY: "emulator-secret-key-0001"}


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorConfig:
    """Address, ledger, credentials and first faults. Port 0 = any free port; no ledger path = memory only."""

    host: str = "127.0.0.1"
    port: int = 0
    ledger_path: Path | None = None
    #: Access key to secret key.
    access_keys: Mapping[str, str] = field(default_factory=_default_access_keys, repr=False)
    users: tuple[IamUser, ...] = (IamUser(),)
    #: Where they are not the default, they replace those that the ledger remembers.
    faults: Faults = field(default_factory=Faults)
    #: What ``GET /v3/projects`` answers.
    project_id: str = DEFAULT_PROJECT_ID
