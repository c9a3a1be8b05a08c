"""Sealed secrets: they open with their key and under their name, and in no other way."""

from base64 import b64encode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.config import Settings
from service.core.errors import ConfigurationError
from service.core.sealing import open_sealed, seal, sealing_key_of

KEY = bytes(range(32))
NAME = "REL00000000000000001"


@given(secret=st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60))
def test_a_sealed_secret_opens_with_its_key_and_name(secret: str) -> None:
    """What was sealed comes back, and is not to be seen meanwhile; no two seals are equal."""
    sealed = seal(secret, key=KEY, bound_to=NAME)

    assert secret == open_sealed(sealed, key=KEY, bound_to=NAME)
    assert len(secret) < 4 or secret.encode() not in sealed
    assert sealed != seal(secret, key=KEY, bound_to=NAME)


@given(position=st.integers(min_value=0, max_value=200), flip=st.integers(min_value=1, max_value=255))
def test_a_changed_seal_does_not_open(position: int, flip: int) -> None:
    """One changed byte anywhere, nonce and tag included, and there is no secret."""
    sealed = bytearray(seal("a secret", key=KEY, bound_to=NAME))
    sealed[position % len(sealed)] ^= flip

    assert open_sealed(bytes(sealed), key=KEY, bound_to=NAME) is None


@pytest.mark.parametrize("length", range(30))
def test_a_cut_seal_does_not_open(length: int) -> None:
    """A part of a sealed secret is none."""
    assert open_sealed(seal("a secret", key=KEY, bound_to=NAME)[:length], key=KEY, bound_to=NAME) is None


def test_a_seal_does_not_open_with_another_key_or_under_another_name() -> None:
    """A secret that was moved to the row of another access key is of no use there."""
    sealed = seal("a secret", key=KEY, bound_to=NAME)

    assert open_sealed(sealed, key=bytes(32), bound_to=NAME) is None
    assert open_sealed(sealed, key=KEY, bound_to="REL00000000000000002") is None


def test_the_settings_take_32_bytes_in_base64() -> None:
    """The key is what the settings say, and is not shown."""
    text = b64encode(KEY).decode()
    settings = Settings.from_env({"RELEASE_SECRET_KEY": text})

    assert settings.secret_key is not None
    assert sealing_key_of(settings.secret_key) == KEY
    assert text not in repr(settings)


@pytest.mark.parametrize(
    "text",
    [
        "hunter2-hunter2",
        b64encode(KEY[:31]).decode(),
        b64encode(KEY + b"x").decode(),
        b64encode(KEY).decode()[:-1],
        urlsafe_b64encode(b"\xff" * 32).decode(),
        KEY.hex(),
        "ü" * 44,
    ],
)
def test_any_other_key_stops_the_start(text: str) -> None:
    """What is not 32 bytes in base64 is refused, with what was expected and without what was given."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_env({"RELEASE_SECRET_KEY": text})

    assert "RELEASE_SECRET_KEY: expected 32 bytes in base64" in str(caught.value)
    assert text not in str(caught.value)
