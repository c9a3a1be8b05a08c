"""The keys of a service on this machine; each is made at the first start and stays with its data."""

import re
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_bytes

from pydantic import SecretStr

from service.commands.keys import create_access_key, create_key
from service.core.key_orders import KeyOrder
from service.core.sealing import sealing_key_of
from service.core.signing import AccessKey

_FILE_MODE = 0o600
_KEY_BYTES = 32
_PAIR = re.compile(r"^HUAWEICLOUD_SDK_AK=(\S+)\nHUAWEICLOUD_SDK_SK=(\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalKeys:
    """A key for every door, and what the secrets of access keys are sealed with."""

    api_key: str = field(repr=False)
    #: As the settings take it.
    secret_key: str = field(repr=False)
    access_key: AccessKey


async def local_keys(data: Path, database_url: str) -> LocalKeys:
    """Return the keys of a data directory."""
    secret_key = _kept(data / "secret-key") or _keep(data / "secret-key", _new_secret_key())
    api_key = _kept(data / "api-key") or _keep(data / "api-key", await _new_api_key(database_url))
    pair = _read_pair(data / "sdk.env") or await _new_access_key(database_url, secret_key)
    return LocalKeys(api_key=api_key, secret_key=secret_key, access_key=pair)


def write_sdk_environment(path: Path, keys: LocalKeys, *, api_url: str, project_id: str) -> None:
    """Write the variables with which the vendor's SDKs, and its samples as they are, call this service."""
    pair = keys.access_key
    lines = {
        "HUAWEICLOUD_SDK_AK": pair.access_key,
        "HUAWEICLOUD_SDK_SK": pair.secret_key,
        "CLOUD_SDK_AK": pair.access_key,
        "CLOUD_SDK_SK": pair.secret_key,
        "HUAWEICLOUD_SDK_PROJECT_ID": project_id,
        "HUAWEICLOUD_SDK_REGION_DATAARTSSTUDIO_CN_NORTH_4": api_url,
        "NO_PROXY": "127.0.0.1",
    }
    _keep(path, "".join(f"{name}={value}\n" for name, value in lines.items()))


def _new_secret_key() -> str:
    return b64encode(token_bytes(_KEY_BYTES)).decode()


async def _new_api_key(database_url: str) -> str:
    return (await create_key(database_url, name="local", scopes=["admin"], workspaces=["*"])).api_key


async def _new_access_key(database_url: str, secret_key: str) -> AccessKey:
    order = KeyOrder(name="local SDKs", scopes=["read", "submit", "operate"], workspaces=["*"])
    sealing_key = sealing_key_of(SecretStr(secret_key))
    return (await create_access_key(database_url, order, sealing_key=sealing_key)).pair


def _read_pair(path: Path) -> AccessKey | None:
    found = _PAIR.search(_kept(path) or "")
    return None if found is None else AccessKey(access_key=found[1], secret_key=found[2])


def _kept(path: Path) -> str | None:
    return path.read_text(encoding="ascii").strip() if path.exists() else None


def _keep(path: Path, text: str) -> str:
    path.touch(mode=_FILE_MODE)
    path.write_text(text, encoding="ascii")
    return text
