"""Which proxy a request goes through.

aiohttp's own ``trust_env`` is not used: it also reads ``~/.netrc``, and an entry there makes every signed
request fail, because it wants the ``Authorization`` header for itself.
"""

from collections.abc import Mapping
from urllib.request import proxy_bypass

from yarl import URL

from service.core.addresses import is_loopback


def proxy_for(url: URL, proxies: Mapping[str, str]) -> URL | None:
    """Choose the proxy of a request by the rules of ``urllib``; loopback is always reached directly.

    Args:
        url: Where the request goes.
        proxies: A proxy per scheme, as ``urllib.request.getproxies`` returns them.
    """
    host = url.host or ""
    if is_loopback(host) or proxy_bypass(host):
        return None
    proxy = proxies.get(url.scheme) or proxies.get("all")
    return None if proxy is None else URL(proxy)
