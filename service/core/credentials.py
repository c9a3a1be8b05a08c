"""Finds the vendor's credentials where users of Huawei Cloud already keep them.

Order: the SDK's variables, those of the vendor's samples, those of the Terraform provider, the SDK's profile file.
Each pair is taken whole from one place.
"""

from collections.abc import Mapping
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from dataclasses import dataclass
from pathlib import Path

from service.core.config import SECRETS_DIRECTORY, read_setting
from service.core.errors import ConfigurationError
from service.core.signing import AccessKey

PROFILE_VARIABLE = "HUAWEICLOUD_SDK_CREDENTIALS_FILE"
_PROFILE = Path(".huaweicloud/credentials")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    access: str
    secret: str
    token: str | None = None
    project: str | None = None
    region: str | None = None


_VARIABLES = (
    _Names(
        access="HUAWEICLOUD_SDK_AK",
        secret="HUAWEICLOUD_SDK_SK",  # noqa: S106 - the name of a variable
        token="HUAWEICLOUD_SDK_SECURITY_TOKEN",  # noqa: S106 - the name of a variable
        project="HUAWEICLOUD_SDK_PROJECT_ID",
    ),
    _Names(access="CLOUD_SDK_AK", secret="CLOUD_SDK_SK"),  # noqa: S106 - the name of a variable
    _Names(
        access="HW_ACCESS_KEY",
        secret="HW_SECRET_KEY",  # noqa: S106 - the name of a variable
        token="HW_SECURITY_TOKEN",  # noqa: S106 - the name of a variable
        region="HW_REGION_NAME",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A key pair, what came with it, and where it was found."""

    key: AccessKey
    project_id: str | None
    region: str | None
    source: str


def find_credentials(
    environment: Mapping[str, str], *, home: Path, secrets: Path = SECRETS_DIRECTORY
) -> Credentials | None:
    """Return the first complete pair, or None.

    Raises:
        ConfigurationError: half a pair was found, or the profile file cannot be read.
    """
    for names in _VARIABLES:
        found = _from_variables(names, environment, secrets)
        if found is not None:
            return found
    return _from_profile(environment, home)


def _from_variables(names: _Names, environment: Mapping[str, str], secrets: Path) -> Credentials | None:
    def value_of(name: str | None) -> str | None:
        return read_setting(name, environment, secrets) if name else None

    access, secret = value_of(names.access), value_of(names.secret)
    if access is None and secret is None:
        return None
    if access is None or secret is None:
        there, gone = (names.secret, names.access) if access is None else (names.access, names.secret)
        raise ConfigurationError(f"{gone} is not set, but {there} is: expected both of the pair")
    return Credentials(
        key=AccessKey(access_key=access, secret_key=secret, security_token=value_of(names.token)),
        project_id=value_of(names.project),
        region=value_of(names.region),
        source=names.access,
    )


def _from_profile(environment: Mapping[str, str], home: Path) -> Credentials | None:
    path = Path(environment.get(PROFILE_VARIABLE) or home / _PROFILE)
    if not path.is_file():
        return None
    profile = ConfigParser(interpolation=None)
    try:
        profile.read_string(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ConfigParserError) as error:
        raise ConfigurationError(
            f"{path} must be a readable INI file with a section [basic]: {error}"
        ) from None
    basic = profile["basic"] if profile.has_section("basic") else {}
    if "ak" not in basic or "sk" not in basic:
        return None
    return Credentials(
        key=AccessKey(
            access_key=basic["ak"], secret_key=basic["sk"], security_token=basic.get("security_token")
        ),
        project_id=basic.get("project_id"),
        region=None,
        source=str(path),
    )
