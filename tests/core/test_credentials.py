"""Where the vendor's credentials are found."""

from pathlib import Path

import pytest

from service.core.credentials import Credentials, find_credentials
from service.core.errors import ConfigurationError

SDK = {"HUAWEICLOUD_SDK_AK": "sdk-ak", "HUAWEICLOUD_SDK_SK": "sdk-sk"}
SAMPLES = {"CLOUD_SDK_AK": "samples-ak", "CLOUD_SDK_SK": "samples-sk"}
TERRAFORM = {"HW_ACCESS_KEY": "terraform-ak", "HW_SECRET_KEY": "terraform-sk"}
SECRET = "hunter2-hunter2"
NOWHERE = Path("/nowhere")


def find(environment: dict[str, str], *, home: Path = NOWHERE, secrets: Path = NOWHERE) -> Credentials | None:
    return find_credentials(environment, home=home, secrets=secrets)


def profile(home: Path, text: str | bytes) -> Path:
    path = home / ".huaweicloud" / "credentials"
    path.parent.mkdir()
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("environment", "access_key"),
    [
        (SDK, "sdk-ak"),
        (SAMPLES, "samples-ak"),
        (TERRAFORM, "terraform-ak"),
        (TERRAFORM | SAMPLES | SDK, "sdk-ak"),
        (TERRAFORM | SAMPLES, "samples-ak"),
        ({}, "profile-ak"),
        (TERRAFORM | {"HW_ACCESS_KEY": "", "HW_SECRET_KEY": " "}, "profile-ak"),
    ],
)
def test_the_first_complete_pair_is_taken(
    tmp_path: Path, environment: dict[str, str], access_key: str
) -> None:
    """The SDK's variables come first, then the samples', Terraform's, and the profile file."""
    profile(tmp_path, "[basic]\nak = profile-ak\nsk = profile-sk\n")
    found = find(environment, home=tmp_path)

    assert found is not None
    assert (access_key, access_key.replace("-ak", "-sk")) == (found.key.access_key, found.key.secret_key)


def test_what_belongs_to_a_pair_comes_from_the_same_place() -> None:
    """A token, a project or a region of another place is not mixed in."""
    environment = {
        **SDK,
        "HUAWEICLOUD_SDK_SECURITY_TOKEN": "t",
        "HUAWEICLOUD_SDK_PROJECT_ID": "p",
        "HW_REGION_NAME": "cn-north-4",
    }
    found = find(environment)

    assert found is not None
    assert (
        found.key.security_token,
        found.project_id,
        found.region,
        found.source,
    ) == ("t", "p", None, "HUAWEICLOUD_SDK_AK")


def test_terraforms_region_comes_with_its_pair() -> None:
    """The provider's variables name a region too."""
    found = find({**TERRAFORM, "HW_REGION_NAME": "cn-north-4"})

    assert found is not None
    assert (found.region, found.project_id) == ("cn-north-4", None)


def test_a_profile_may_name_a_token_and_a_project(tmp_path: Path) -> None:
    """The SDK's profile file is read as the SDK does: no interpolation, section [basic]."""
    path = profile(
        tmp_path, "[basic]\nak = a\nsk = 100%s%\nsecurity_token = t\nproject_id = p\n[global]\nak = no\n"
    )
    found = find({}, home=tmp_path)

    assert found is not None
    assert ("100%s%", "t", "p", str(path)) == (
        found.key.secret_key,
        found.key.security_token,
        found.project_id,
        found.source,
    )


@pytest.mark.parametrize(
    ("environment", "there", "gone"),
    [
        ({"HUAWEICLOUD_SDK_AK": SECRET}, "HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK"),
        ({"CLOUD_SDK_SK": SECRET}, "CLOUD_SDK_SK", "CLOUD_SDK_AK"),
        ({"HW_SECRET_KEY": SECRET} | SDK | {"HUAWEICLOUD_SDK_SK": ""}, "SDK_AK", "HUAWEICLOUD_SDK_SK"),
    ],
)
def test_half_a_pair_stops_the_start(environment: dict[str, str], there: str, gone: str) -> None:
    """Half a pair is a mistake, whatever is found elsewhere; the message names the other half."""
    with pytest.raises(ConfigurationError) as caught:
        find(environment)

    assert str(caught.value).startswith(f"{gone} is not set, but ")
    assert there in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(("there", "gone"), [("ak", "sk"), ("sk", "ak")])
def test_half_a_pair_in_a_profile_stops_the_start(tmp_path: Path, there: str, gone: str) -> None:
    """The same holds for the profile file."""
    path = profile(tmp_path, f"[basic]\n{there} = {SECRET}\n{gone} =\n")

    with pytest.raises(ConfigurationError) as caught:
        find({}, home=tmp_path)

    assert f"{path}: {gone} is not set, but {there} is: expected both of the pair" == str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        f"ak = {SECRET}\n",
        f"[basic]\n{SECRET}\n",
        f"[basic]\nak = a\nak = {SECRET}\n",
        SECRET.encode() + b"\xff",
    ],
    ids=["no section", "no option", "twice", "not UTF-8"],
)
def test_a_broken_profile_is_refused_without_its_contents(tmp_path: Path, text: str | bytes) -> None:
    """A file that is no INI file is named; none of its lines is, since any may be the secret."""
    path = profile(tmp_path, text)

    with pytest.raises(ConfigurationError) as caught:
        find({}, home=tmp_path)

    assert str(caught.value).startswith(f"{path}: expected an INI file with a section [basic]")
    assert SECRET not in str(caught.value)


def test_a_profile_that_was_named_must_be_there(tmp_path: Path) -> None:
    """Whoever names a profile file means it."""
    gone = tmp_path / "gone"

    with pytest.raises(ConfigurationError) as caught:
        find({"HUAWEICLOUD_SDK_CREDENTIALS_FILE": str(gone)})

    assert f"{gone}: expected a readable file; No such file or directory" == str(caught.value)


@pytest.mark.parametrize("text", ["", "[global]\nak = a\nsk = b\n", "[basic]\n"])
def test_a_profile_without_keys_has_none(tmp_path: Path, text: str) -> None:
    """A profile for something else is passed over."""
    profile(tmp_path, text)

    assert find({}, home=tmp_path) is None


def test_nothing_anywhere_is_none() -> None:
    """Without credentials there is nothing to be refused: the emulator may need none."""
    assert find({}) is None


def test_a_pair_may_lie_among_the_secrets(tmp_path: Path) -> None:
    """Credentials are found in files like any setting."""
    (tmp_path / "HUAWEICLOUD_SDK_AK").write_text("a\n")
    (tmp_path / "sk").write_text("s\n")
    found = find({"HUAWEICLOUD_SDK_SK_FILE": str(tmp_path / "sk")}, secrets=tmp_path)

    assert found is not None
    assert (found.key.access_key, found.key.secret_key) == ("a", "s")


def test_a_secret_key_is_not_in_the_repr() -> None:
    """Credentials that end up in a message do not give themselves away."""
    assert "sdk-sk" not in repr(find(SDK))
