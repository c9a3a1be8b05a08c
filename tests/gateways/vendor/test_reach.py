"""Where requests go: endpoints, proxies, and the files that must not matter."""

from dataclasses import replace
from pathlib import Path

import pytest
from yarl import URL

from service.core.outcomes import NotSent, Released
from service.core.proxies import proxy_for
from service.gateways.vendor.client import VendorClient
from service.gateways.vendor.endpoints import base_url_of, iam_url_of, release_package_path
from tests.gateways.vendor.raw_server import always, created, raw_server
from tests.gateways.vendor.samples import batch, config, in_a_minute


def test_a_region_has_its_endpoints() -> None:
    """The addresses of a region are the vendor's."""
    assert base_url_of("cn-north-4") == "https://dayu.cn-north-4.myhuaweicloud.com"
    assert iam_url_of("cn-north-4") == "https://iam.cn-north-4.myhuaweicloud.com"


def test_ids_cannot_leave_their_place_in_a_path() -> None:
    """A slash or a question mark in an id stays inside its path segment."""
    assert release_package_path("p/1", "?x") == "/v2/p%2F1/factory/release-packages/%3Fx"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.8.8.8"])
def test_loopback_is_reached_directly(host: str) -> None:
    """No proxy comes between us and this machine."""
    assert proxy_for(URL(f"http://{host}:8080/"), {"http": "http://proxy:1", "all": "http://proxy:1"}) is None


def test_the_proxy_is_chosen_by_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scheme's own proxy comes before the general one; hosts under no_proxy go without."""
    monkeypatch.setenv("no_proxy", "inside.example")
    proxies = {"https": "http://secure:1", "all": "http://general:1"}

    chosen = [
        proxy_for(URL(url), proxies) for url in ("https://v/", "http://v/", "https://a.inside.example/")
    ]

    assert chosen == [URL("http://secure:1"), URL("http://general:1"), None]


@pytest.mark.parametrize("trust_env", [True, False])
async def test_the_environments_proxy_is_used_if_trusted(
    monkeypatch: pytest.MonkeyPatch, *, trust_env: bool
) -> None:
    """A trusted environment names the proxy that carries the call, with its own password."""
    async with raw_server(always(created())) as proxy:
        monkeypatch.setenv("http_proxy", f"http://ann:pw@127.0.0.1:{proxy.port}")
        async with VendorClient(replace(config("http://vendor.invalid"), trust_env=trust_env)) as client:
            report = await client.create_package(batch(), deadline=in_a_minute())

    assert isinstance(report.outcome, Released if trust_env else NotSent)
    assert trust_env == proxy.received.startswith(b"POST http://vendor.invalid/v2/")
    assert trust_env == (b"Proxy-Authorization: Basic YW5uOnB3" in proxy.received)


async def test_a_netrc_leaves_the_signature_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A netrc with an entry for every host changes nothing: we have credentials of our own."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login ann password pw\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with raw_server(always(created())) as server, VendorClient(config(server.url)) as client:
        report = await client.create_package(batch(), deadline=in_a_minute())

    assert isinstance(report.outcome, Released)
    assert b"Authorization: SDK-HMAC-SHA256" in server.received


async def test_a_base_url_may_have_a_path() -> None:
    """A path in the base URL comes before the API's own, in the address and in the signature."""
    async with raw_server(always(created())) as server, VendorClient(config(f"{server.url}/dayu/")) as client:
        await client.create_package(batch(), deadline=in_a_minute())

    assert server.received.startswith(b"POST /dayu/v2/")
