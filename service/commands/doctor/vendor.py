"""Checks the way to the vendor: the credentials and where they were found, the endpoint, a signed read, the clock."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import assert_never

from service.commands.doctor.findings import Finding, bad, doubtful, good
from service.core.config import Settings
from service.core.credentials import Credentials
from service.core.errors import ConfigurationError
from service.core.outcomes import InDoubt, NotSent, NotSentCause, Rejected, Throttled, VendorError
from service.core.place import Place
from service.core.sources import SECRETS_DIRECTORY
from service.gateways.access import vendor_config
from service.gateways.vendor.answer import clock_skew_of
from service.gateways.vendor.calls import pending_items_call
from service.gateways.vendor.client import Forwarded, VendorClient, VendorConfig

_PATIENCE = timedelta(seconds=10)
#: Signatures that are so much off are refused.
_REFUSED_SKEW = 15 * 60
#: Far enough to be set wrong, not to be refused.
_STRANGE_SKEW = 60
_ONE_ROW = (("limit", "1"), ("offset", "0"))
_PLACES = "docs/configuration.md names all places that are looked at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the checks go by."""

    settings: Settings
    credentials: Credentials | None
    environment: Mapping[str, str]
    #: The workspace to read.
    workspace: str | None


async def check_vendor(around: Surroundings) -> list[Finding]:
    """Check everything up to one signed read."""
    found = [check_credentials(around)]
    try:
        config = vendor_config(around.settings, around.credentials)
    except ConfigurationError as error:
        return (
            found
            if "credentials" in str(error)
            else [*found, bad("endpoint", str(error), fix="set RELEASE_REGION or RELEASE_VENDOR_URL")]
        )
    found.append(check_endpoint(around, config))
    place = _place_of(around)
    if place is None:
        fix = "name a workspace with --workspace, and its project in RELEASE_PROJECT_ID"
        return [*found, doubtful("signed read", "not made: no workspace to read is known", fix=fix)]
    return [*found, *await _read(config, place)]


def check_credentials(around: Surroundings) -> Finding:
    """Say where the credentials were found."""
    match around.settings.vendor_auth:
        case "none":
            return good("credentials", "RELEASE_VENDOR_AUTH is none: calls are not signed")
        case "token":
            settings = around.settings
            if settings.iam_user and settings.iam_password and settings.iam_domain and settings.iam_url:
                return good("credentials", "an IAM user, from RELEASE_IAM_USER and RELEASE_IAM_PASSWORD")
            return bad("credentials", "an IAM user that is not complete", fix="set all four of RELEASE_IAM_…")
        case "aksk":
            if around.credentials is None:
                fix = f"set HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK; {_PLACES}"
                return bad("credentials", "no access key was found", fix=fix)
            source = _whereabouts(around.credentials.source, around.environment)
            return good("credentials", f"an access key, from {source}")


def _whereabouts(source: str, environment: Mapping[str, str]) -> str:
    """Say where a variable came from; a path stands for itself."""
    if "/" in source:
        return source
    if environment.get(source, "").strip():
        return f"{source} in the environment"
    if environment.get(f"{source}_FILE"):
        return f"{environment[f'{source}_FILE']}, which {source}_FILE names"
    return str(SECRETS_DIRECTORY / source)


def check_endpoint(around: Surroundings, config: VendorConfig) -> Finding:
    """Say where calls go, and why."""
    if around.settings.vendor_url:
        return good("endpoint", f"{config.base_url}, from RELEASE_VENDOR_URL")
    if around.settings.region:
        return good("endpoint", f"{config.base_url}, from RELEASE_REGION {around.settings.region}")
    return good("endpoint", f"{config.base_url}, from the region of the credentials")


def _place_of(around: Surroundings) -> Place | None:
    project = around.settings.project_id or (around.credentials.project_id if around.credentials else None)
    workspace = around.workspace or around.settings.default_workspace or ""
    project_of_name, _, name = workspace.rpartition("/")
    return Place.read(project_of_name or project or "", name)


async def _read(config: VendorConfig, place: Place) -> list[Finding]:
    bounded = replace(config, connect_timeout=_PATIENCE, read_timeout=_PATIENCE, call_timeout=_PATIENCE)
    call = pending_items_call(place, _ONE_ROW, max_bytes=config.max_list_bytes)
    began = time.monotonic()
    async with VendorClient(bounded) as client:
        reply = await client.forward(call)
    milliseconds = round((time.monotonic() - began) * 1000)
    return [judge_read(reply, place, milliseconds=milliseconds), *judge_clock(reply)]


def judge_read(reply: Forwarded, place: Place, *, milliseconds: int) -> Finding:
    """Say what one signed read has shown."""
    check = "signed read"
    if reply.failure is None:
        return good(check, f"the pending items of {place} can be read, in {milliseconds} ms")
    words = _words_of(reply.failure.error)
    match reply.failure:
        case NotSent(cause=NotSentCause.UNREACHABLE):
            fix = "check the endpoint, the network, and HTTPS_PROXY"
            return bad(check, f"the vendor cannot be reached: {words}", fix=fix)
        case NotSent(cause=NotSentCause.AUTHENTICATION | NotSentCause.TOKEN):
            fix = (
                "check secret key and rights of the user; more than five refusals lock a key for five minutes"
            )
            return bad(check, f"the credentials are refused: {words}", fix=fix)
        case Throttled():
            return doubtful(check, f"the vendor throttles: {words}", fix="try again later")
        case Rejected():
            fix = f"check that {place} is a workspace and its project, and that the user may read it"
            return bad(check, f"the credentials are taken, the read is refused: {words}", fix=fix)
        case NotSent() | InDoubt():
            return bad(check, f"the vendor fails: {words}", fix="try again later")
        case _:
            assert_never(reply.failure)


def judge_clock(reply: Forwarded) -> list[Finding]:
    """Compare our clock with the date of the vendor's answer."""
    skew = None if reply.answer is None else clock_skew_of(reply.answer)
    if skew is None:
        return []
    side = "behind" if skew > 0 else "ahead of"
    detail = f"{abs(skew):.0f} s {side} the vendor's"
    if abs(skew) >= _REFUSED_SKEW:
        fix = "set the clock of this machine: signatures that are 15 minutes off are refused"
        return [bad("clock", detail, fix=fix)]
    if abs(skew) >= _STRANGE_SKEW:
        return [doubtful("clock", detail, fix="set the clock of this machine, before it is 15 minutes off")]
    return [good("clock", detail)]


def _words_of(error: VendorError) -> str:
    words = [str(word) for word in (error.status, error.error_code, error.error_msg) if word]
    return " ".join(words) or "without a word"
