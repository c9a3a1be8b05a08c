"""Opens what the façade uses beside the other doors: the vendor, access keys, and a memory of a moment."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web

from service.core.credentials import Credentials
from service.core.errors import ConfigurationError
from service.core.sealing import sealing_key_of
from service.deps import Deps, wait_for
from service.doors.facade.identity import FacadeAuthenticator
from service.doors.facade.keys import CHANGES, FACADE_AUTHENTICATOR, READS, VENDOR
from service.doors.facade.memory import new_changes, new_reads
from service.doors.keys import AUTHENTICATOR, DEPS
from service.flow.access_keys import AccessKeys
from service.gateways.access import NoVendor, VendorAccess, open_vendor, vendor_config
from service.gateways.vendor.hooks import Hooks


@asynccontextmanager
async def open_facade(app: web.Application, credentials: Credentials | None) -> AsyncIterator[None]:
    """Give the application what the façade uses, for as long as the block lasts.

    Raises:
        ConfigurationError: there are access keys, and RELEASE_SECRET_KEY does not open them.
    """
    deps = app[DEPS]
    access_keys = await _open_access_keys(deps)
    app[FACADE_AUTHENTICATOR] = FacadeAuthenticator(deps.database, access_keys, app[AUTHENTICATOR])
    app[READS], app[CHANGES] = new_reads(), new_changes()
    async with AsyncExitStack() as stack:
        app[VENDOR] = await _open_access(stack, deps, credentials)
        stack.push_async_callback(app[READS].close)
        stack.push_async_callback(app[CHANGES].close)
        yield


async def _open_access_keys(deps: Deps) -> AccessKeys:
    secret = deps.settings.secret_key
    access_keys = AccessKeys(deps.database, sealing_key=None if secret is None else sealing_key_of(secret))
    if deps.settings.auth == "keys":
        await wait_for("PostgreSQL", access_keys.check)
    return access_keys


async def _open_access(
    stack: AsyncExitStack, deps: Deps, credentials: Credentials | None
) -> VendorAccess | NoVendor:
    """Open access to the vendor; without credentials this process accepts requests all the same."""
    try:
        config = vendor_config(deps.settings, credentials)
    except ConfigurationError as error:
        return NoVendor(reason=str(error))
    hooks = Hooks(on_call=deps.metrics.vendor.count_call)
    access = open_vendor(deps.settings, config, redis=deps.redis, database=deps.database, hooks=hooks)
    return await stack.enter_async_context(access)
