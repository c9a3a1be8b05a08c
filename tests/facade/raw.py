"""Signs calls as the vendor's SDKs do and sends exactly the bytes that a test wants."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from yarl import URL

from service.core.signing import AccessKey, Signable, format_date, sign
from tests.emulator.vendor_caller import CREATE, PROJECT, WORKSPACE, Reply, application, exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class RawCall:
    """A call, ready to be sent any number of times."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    async def send(self) -> Reply:
        """Send it and read the answer to its end."""
        url = URL(self.url, encoded=True)
        return await exchange(self.method, url, headers=self.headers, data=self.body)

    def with_headers(self, **headers: str | None) -> "RawCall":
        """Change headers behind the back of the signature; None takes one away."""
        changed = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return replace(self, headers={name: value for name, value in changed.items() if value is not None})


def signed_call(
    base_url: str,
    key: AccessKey,
    *,
    line: str = f"POST {CREATE}",
    body: bytes | None = None,
    skew: timedelta = timedelta(),
) -> RawCall:
    """Sign a call, of this method and path; by default the create of a package of item 26."""
    method, _, path = line.partition(" ")
    data = json.dumps(application("26")).encode() if body is None else body
    headers = {
        "Host": base_url.partition("//")[2],
        "X-Sdk-Date": format_date(datetime.now(UTC) + skew),
        "Content-Type": "application/json;charset=utf-8",
        "X-Project-Id": PROJECT,
        "workspace": WORKSPACE,
    }
    signable = Signable(method=method, path=path, query=(), headers=headers, body=data)
    authorized = {**headers, "Authorization": sign(signable, key)}
    return RawCall(method=method, url=base_url + path, headers=authorized, body=data)


def token_call(
    base_url: str, token: str, *, line: str = f"POST {CREATE}", body: bytes | None = None
) -> RawCall:
    """Make a call with an API key as its token."""
    method, _, path = line.partition(" ")
    data = json.dumps(application("26")).encode() if body is None else body
    headers = {"Content-Type": "application/json", "X-Auth-Token": token, "workspace": WORKSPACE}
    return RawCall(method=method, url=base_url + path, headers=headers, body=data)
