"""Tells whether an address may be called: secrets go over TLS, or stay on this machine."""

from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from service.core.wording import escaped, shown


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_base_url(url: str) -> bool:
    """Tell whether a URL is https, or http to a loopback address, with nothing but host, port and path."""
    address = _split(url)
    if address is None or not address.hostname or " " in url or escaped(url) != url:
        return False
    if address.username is not None or address.query or address.fragment:
        return False
    return address.scheme == "https" or (address.scheme == "http" and is_loopback(address.hostname))


def host_of(url: str) -> str:
    """Return the host that a URL names, or nothing."""
    address = _split(url)
    return (address.hostname if address else None) or ""


def origin_of(url: str) -> str:
    """Return scheme and host of a URL, fit to be shown: the rest of it may hold a secret."""
    scheme, separator, _ = url.partition("://")
    return shown(f"{scheme}://{host_of(url)}") if separator else shown("a text without ://")


def _split(url: str) -> SplitResult | None:
    try:
        address = urlsplit(url)
        port = address.port
    except ValueError:
        return None
    return None if port == 0 else address
