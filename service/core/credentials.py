"""Finds the vendor's credentials where users of Huawei Cloud already keep them.

Order: the SDK's variables, those of the vendor's samples, those of the Terraform provider, the SDK's profile file.
Each pair is taken whole from one place.
"""

from collections.abc import Mapping
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from dataclasses import dataclass
from pathlib import Path

from service.core.errors import ConfigurationError
from service.core.signing import AccessKey
from service.core.sources import SECRETS_DIRECTORY, is_file, read_setting

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
    named = environment.get(PROFILE_VARIABLE)
    path = Path(named) if named else home / _PROFILE
    if not named and not is_file(path):
        return None
    basic = _read_basic(path)
    access, secret = basic.get("ak", "").strip(), basic.get("sk", "").strip()
    if not access and not secret:
        return None
    if not access or not secret:
        there, gone = ("ak", "sk") if access else ("sk", "ak")
        raise ConfigurationError(f"{path}: {gone} is not set, but {there} is: expected both of the pair")
    return Credentials(
        key=AccessKey(
            access_key=access, secret_key=secret, security_token=basic.get("security_token") or None
        ),
        project_id=basic.get("project_id") or None,
        region=None,
        source=str(path),
    )


def _read_basic(path: Path) -> Mapping[str, str]:
    profile = ConfigParser(interpolation=None)
    try:
        profile.read_string(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: expected a readable file; {error.strerror}") from None
    except (ValueError, ConfigParserError) as error:
        # The parser's own message repeats the line, and the line may be the secret.
        reason = type(error).__name__
        raise ConfigurationError(f"{path}: expected an INI file with a section [basic]; {reason}") from None
    return dict(profile["basic"]) if profile.has_section("basic") else {}
