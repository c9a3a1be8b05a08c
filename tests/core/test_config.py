"""The settings: where they come from, and how a bad one is refused."""

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from service.core.backoff import Backoff
from service.core.config import Settings
from service.core.errors import ConfigurationError
from service.core.planning import Window
from service.core.submission import Defaults

SECRET = "hunter2-hunter2"
VENDOR = {"RELEASE_VENDOR_URL": "https://dayu.example.com"}


def read(environment: dict[str, str], *, secrets: Path = Path("/nowhere")) -> Settings:
    return Settings.from_env(environment, secrets=secrets)


def refusal(environment: dict[str, str], *, secrets: Path = Path("/nowhere")) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(environment, secrets=secrets)
    return str(caught.value)


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    """Without any setting the service has the defaults of its documentation."""
    settings = read({})

    assert Window(max_items=100, quiet=timedelta(seconds=0.2), linger=timedelta(seconds=2)) == settings.window
    assert settings.retry_policy.max_attempts == 8
    assert Backoff(base=timedelta(seconds=1), cap=timedelta(minutes=5)) == settings.retry_policy.backoff
    assert Defaults() == settings.defaults
    assert (
        settings.http_host,
        settings.http_port,
        settings.auth,
        settings.vendor_auth,
        settings.vendor_rate,
        settings.workspace_rate,
        settings.vendor_concurrency,
    ) == ("127.0.0.1", 8080, "keys", "aksk", 8.0, 0.0, 16)
    assert (timedelta(seconds=30), timedelta(seconds=45), timedelta(seconds=40)) == (
        settings.call_timeout,
        settings.lease,
        settings.grace,
    )


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        ("HTTP_PORT", "http", 'expected a whole number; given "http"'),
        ("HTTP_PORT", "65536", 'expected at most 65535; given "65536"'),
        ("HTTP_PORT", "-1", 'expected at least 0; given "-1"'),
        ("AUTH", "none", "expected one of 'keys' or 'off'; given \"none\""),
        ("VENDOR_AUTH", "AKSK", "expected one of 'aksk', 'token' or 'none'; given \"AKSK\""),
        ("ALLOW_SELF_APPROVAL", "maybe", 'expected true or false; given "maybe"'),
        ("BATCH_MAX_ITEMS", "0", 'expected at least 1; given "0"'),
        ("BATCH_MAX_ITEMS", "101", 'expected at most 100; given "101"'),
        ("BATCH_MAX_ITEMS", "1.5", 'expected a whole number; given "1.5"'),
        ("BATCH_QUIET_SECONDS", "-1", 'expected 0 to 604800 seconds; given "-1"'),
        ("BATCH_QUIET_SECONDS", "soon", 'expected a number of seconds; given "soon"'),
        ("BATCH_LINGER_SECONDS", "nan", 'expected a number of seconds; given "nan"'),
        ("BATCH_LINGER_SECONDS", "inf", 'expected a number of seconds; given "inf"'),
        ("BATCH_LINGER_SECONDS", "1e300", 'expected a number of seconds; given "1e300"'),
        ("BATCH_LINGER_SECONDS", "604801", 'expected 0 to 604800 seconds; given "604801"'),
        ("VENDOR_RATE", "-1", 'expected at least 0; given "-1"'),
        ("VENDOR_RATE", "fast", 'expected a number; given "fast"'),
        ("VENDOR_RATE", "nan", 'expected a finite number; given "nan"'),
        ("WORKSPACE_RATE", "inf", 'expected a finite number; given "inf"'),
        ("VENDOR_CONCURRENCY", "0", 'expected at least 1; given "0"'),
        ("CALL_TIMEOUT_SECONDS", "0", 'expected more than 0 seconds; given "0"'),
        ("LEASE_SECONDS", "-5", 'expected 0 to 604800 seconds; given "-5"'),
        ("LEASE_SECONDS", "30", "expected more than RELEASE_CALL_TIMEOUT_SECONDS, 30; given 30"),
        ("GRACE_SECONDS", "29.5", "expected more than RELEASE_CALL_TIMEOUT_SECONDS, 30; given 29.5"),
        ("MAX_ATTEMPTS", "0", 'expected at least 1; given "0"'),
        ("BACKOFF_BASE_SECONDS", "0", 'expected more than 0 seconds; given "0"'),
        ("BACKOFF_CAP_SECONDS", "x", 'expected a number of seconds; given "x"'),
        ("SWEEP_SECONDS", "0", 'expected more than 0 seconds; given "0"'),
        ("FAILPOINT", "somewhere", "expected one of 'after_answer' or 'before_write'; given \"somewhere\""),
        (
            "FAILPOINT",
            "before_write",
            "expected none, since RELEASE_VENDOR_URL is not a loopback address; given before_write",
        ),
        ("LOG_LEVEL", "loud", "expected one of 'debug', 'info', 'warning' or 'error'; given \"loud\""),
        ("LOG_FORMAT", "xml", "expected one of 'json' or 'console'; given \"xml\""),
        ("HTTP_HOST", "\udcff", "expected UTF-8 text; given other bytes"),
    ],
)
def test_a_bad_setting_is_named(name: str, given: str, sentence: str) -> None:
    """The start is refused with the name of the setting, what was expected and what was given."""
    assert f"RELEASE_{name}: {sentence}" == refusal({f"RELEASE_{name}": given})


def test_all_bad_settings_are_named_at_once() -> None:
    """Who sets up a deployment corrects it once."""
    environment = {"RELEASE_HTTP_PORT": "x", "RELEASE_MAX_ATTEMPTS": "0", "RELEASE_AUTH": "?"}

    assert refusal(environment).count("RELEASE_") == 3


def test_all_settings_that_do_not_fit_each_other_are_named_at_once() -> None:
    """The same holds for rules on two settings."""
    environment = {
        "RELEASE_LEASE_SECONDS": "1",
        "RELEASE_GRACE_SECONDS": "1",
        "RELEASE_AUTH": "off",
        "RELEASE_HTTP_HOST": "0.0.0.0",  # noqa: S104 - refused, that is the point
        "RELEASE_VENDOR_URL": "http://example.com",
    }
    named = [sentence.partition(": expected ")[0] for sentence in refusal(environment).split("; RELEASE_")]

    assert named == ["RELEASE_LEASE_SECONDS", "GRACE_SECONDS", "AUTH", "VENDOR_URL"]


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 - refused, that is the point
        ("::", False),
        ("10.0.0.1", False),
        ("example.com", False),
        ("localhost.example.com", False),
    ],
)
def test_without_keys_only_this_machine_is_served(host: str, is_allowed: bool) -> None:
    """RELEASE_AUTH=off needs a loopback address."""
    environment = {"RELEASE_AUTH": "off", "RELEASE_HTTP_HOST": host}
    if is_allowed:
        assert read(environment).auth == "off"
    else:
        assert refusal(environment).startswith("RELEASE_AUTH: expected keys")


@pytest.mark.parametrize("name", ["RELEASE_VENDOR_URL", "RELEASE_IAM_URL"])
@pytest.mark.parametrize(
    ("url", "is_allowed"),
    [
        ("https://dayu.cn-north-4.myhuaweicloud.com", True),
        ("https://dayu.example.com:8443/path/", True),
        ("http://127.0.0.1:9080", True),
        ("http://localhost:9080", True),
        ("http://[::1]:9080", True),
        ("http://dayu.example.com", False),
        ("http://127.0.0.1.example.com", False),
        ("http://127.0.0.1@example.com", False),
        ("https://user:hunter2@example.com", False),
        ("https://example.com?x=hunter2", False),
        ("https://example.com#hunter2", False),
        ("https://", False),
        ("https://:443", False),
        ("https://example.com:0", False),
        ("https://example.com:99999", False),
        ("https://example.com:hunter2", False),
        ("https://[::1", False),
        ("https://exa mple.com", False),
        ("https://example.com/\u202e", False),
        ("ftp://example.com", False),
        ("dayu.example.com", False),
    ],
)
def test_the_vendor_is_called_over_tls_or_on_this_machine(name: str, url: str, is_allowed: bool) -> None:
    """Signatures and passwords go over https, or to a loopback address; the refusal shows the host alone."""
    if is_allowed:
        assert url in read({name: url}).model_dump().values()
        return
    message = refusal({name: url})

    assert message.startswith(f"{name}: expected https://host")
    assert "hunter2" not in message


@pytest.mark.parametrize("url", [None, "https://dayu.example.com"])
def test_an_unsigned_vendor_is_on_this_machine(url: str | None) -> None:
    """RELEASE_VENDOR_AUTH=none is for the emulator."""
    environment = {"RELEASE_VENDOR_AUTH": "none"} | ({} if url is None else {"RELEASE_VENDOR_URL": url})

    assert refusal(environment).startswith("RELEASE_VENDOR_AUTH: expected aksk or token")
    assert read({**environment, "RELEASE_VENDOR_URL": "http://127.0.0.1:9"}).vendor_auth == "none"


@pytest.mark.parametrize(
    ("name", "scheme"), [("RELEASE_DATABASE_URL", "postgresql"), ("RELEASE_REDIS_URL", "redis")]
)
def test_the_address_of_a_server_has_its_scheme(name: str, scheme: str) -> None:
    """An address of another kind is refused at once, and what was given is not shown."""
    message = refusal({name: f"mysql://root:{SECRET}@host"})

    assert f"{name}: expected an address that begins with {scheme}://; given one that does not" == message


@pytest.mark.parametrize("name", ["RELEASE_DATABASE_URL", "RELEASE_REDIS_URL", "RELEASE_IAM_PASSWORD"])
def test_secrets_are_never_shown(name: str) -> None:
    """Neither the settings nor a refusal of them show a secret."""
    scheme = {"RELEASE_DATABASE_URL": "postgresql", "RELEASE_REDIS_URL": "redis"}.get(name, "")
    environment = {name: f"{scheme}://u:{SECRET}@h"}

    assert SECRET not in f"{read(environment)!r} {read(environment)} {read(environment).model_dump_json()}"
    assert SECRET not in refusal({**environment, "RELEASE_HTTP_PORT": "x"})
    assert SECRET not in refusal({name: f"{SECRET}\udcff"})


@pytest.mark.parametrize("given", ["true", "1", "yes", "on", "TRUE"])
def test_true_has_several_spellings(given: str) -> None:
    """A switch is on however people write it."""
    assert read({"RELEASE_ALLOW_SELF_APPROVAL": given}).allow_self_approval


@pytest.mark.parametrize("given", ["false", "0", "no", "off", "", "  "])
def test_false_has_several_spellings_and_empty_is_the_default(given: str) -> None:
    """A switch is off however people write it, and where nothing is written."""
    assert not read({"RELEASE_ALLOW_SELF_APPROVAL": given}).allow_self_approval


def test_white_space_around_a_value_does_not_count() -> None:
    """Secrets made from files often end in a line feed."""
    settings = read({"RELEASE_REGION": " cn-north-4\n", "RELEASE_IAM_PASSWORD": f"{SECRET}\n"})

    assert (settings.region, settings.iam_password) == ("cn-north-4", SecretStr(SECRET))


def test_the_environment_comes_before_files_and_secrets(tmp_path: Path) -> None:
    """A setting is taken from the variable, else the file that NAME_FILE names, else the secrets."""
    (tmp_path / "RELEASE_REGION").write_text("from-secrets\n")
    (tmp_path / "named").write_text("from-file\n")
    by_file = {"RELEASE_REGION_FILE": str(tmp_path / "named")}

    assert read({}, secrets=tmp_path).region == "from-secrets"
    assert read(by_file, secrets=tmp_path).region == "from-file"
    assert read({**by_file, "RELEASE_REGION": "from-variable"}, secrets=tmp_path).region == "from-variable"


def test_a_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    """Whoever names a file means it."""
    gone = tmp_path / "gone"
    message = refusal({"RELEASE_REGION_FILE": str(gone)})

    assert message == (
        f"RELEASE_REGION_FILE: expected a readable file; given '{gone}': No such file or directory"
    )


def test_a_file_that_is_no_text_stops_the_start(tmp_path: Path) -> None:
    """A binary file in the place of a secret is a mistake, and is not shown."""
    (tmp_path / "RELEASE_IAM_PASSWORD").write_bytes(b"\xff\xfe")

    assert "RELEASE_IAM_PASSWORD: expected a readable file" in refusal({}, secrets=tmp_path)


def test_a_bad_value_in_a_file_is_refused_like_any(tmp_path: Path) -> None:
    """Values from files are checked too."""
    (tmp_path / "RELEASE_HTTP_PORT").write_text("http\n")

    assert refusal({}, secrets=tmp_path) == 'RELEASE_HTTP_PORT: expected a whole number; given "http"'


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("RELEASE_BATCH_MAX_ITEM", "RELEASE_BATCH_MAX_ITEMS"),
        ("RELEASE_DATABSE_URL", "RELEASE_DATABASE_URL"),
        ("RELEASE_VENDOR_RATES", "RELEASE_VENDOR_RATE"),
        ("RELEASE_LEASE_SECOND", "RELEASE_LEASE_SECONDS"),
        ("RELEASE_IAM_PASWORD_FILE", "RELEASE_IAM_PASSWORD_FILE"),
        ("RELEASE_BATCH_QUIET_SECONDES", "RELEASE_BATCH_QUIET_SECONDS"),
    ],
)
def test_a_slip_in_a_name_is_refused(given: str, meant: str) -> None:
    """A setting that would be ignored because of a slip stops the start, with the name that was meant."""
    assert f"{given}: expected {meant}" == refusal({given: "1"})


@pytest.mark.parametrize(
    "name",
    [
        "RELEASE_API_KEY",
        "RELEASE_CALENDAR",
        "RELEASE_TEST_DATABASE_URL",
        "RELEASE_TEST_REDIS_URL",
        "RELEASE_URL",
        "RELEASE_SERVICE_HOST",
        "RELEASE_PORT_8080_TCP_PORT",
        "RELEASE_API_PORT",
        "RELEASE_VERSION",
        "release_region",
    ],
)
def test_other_names_are_let_be(name: str) -> None:
    """Settings of other versions, the client's, and what Kubernetes sets for a Service do not stop the start."""
    assert read({}) == read({name: "x"})


@pytest.mark.parametrize(
    ("environment", "missing"),
    [
        ({}, "RELEASE_DATABASE_URL"),
        ({"RELEASE_DATABASE_URL": "postgresql://u@h/d"}, "RELEASE_REDIS_URL"),
    ],
)
def test_a_server_without_address_is_named(environment: dict[str, str], missing: str) -> None:
    """A process that needs both servers says which one it has no address of."""
    with pytest.raises(ConfigurationError, match=f"^{missing} is not set: expected "):
        read(environment).require_servers()


def test_the_addresses_of_the_servers_are_handed_out() -> None:
    """With both addresses set, both come back."""
    environment = {
        "RELEASE_DATABASE_URL": "postgresql://u@h/d",
        "RELEASE_REDIS_URL": "unix:///run/valkey.sock?db=1",
    }

    assert tuple(environment.values()) == read(environment).require_servers()


names = st.sampled_from([str(field.alias) for field in Settings.model_fields.values()])


@given(environment=st.dictionaries(names | names.map(lambda name: f"{name}_FILE"), st.text()))
def test_no_environment_whatever_breaks_the_reading(environment: dict[str, str]) -> None:
    """Settings are read or refused in one printable line."""
    message = ""
    try:
        read(environment)
    except ConfigurationError as error:
        message = str(error)

    assert message == "" or message.startswith("RELEASE_")
    assert message.isprintable()


def test_a_rule_on_two_settings_waits_for_both_to_be_readable() -> None:
    """A lease that is no number is told so, and nothing is told about its length."""
    environment = {**VENDOR, "RELEASE_LEASE_SECONDS": "x"}

    assert refusal(environment) == 'RELEASE_LEASE_SECONDS: expected a number of seconds; given "x"'
