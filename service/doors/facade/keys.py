"""Names under which the HTTP application keeps what the façade uses."""

from aiohttp import web

from service.doors.facade.identity import FacadeAuthenticator
from service.doors.facade.memory import Changes, Reads
from service.gateways.access import NoVendor, VendorAccess

CHANGES = web.AppKey("changes", Changes)
FACADE_AUTHENTICATOR = web.AppKey("facade_authenticator", FacadeAuthenticator)
READS = web.AppKey("reads", Reads)
VENDOR: web.AppKey[VendorAccess | NoVendor] = web.AppKey("vendor")
