"""L3p: L3n with what this service promises of an accepted request, and nothing else.

The body is checked by the rules of this service, request, items and event become rows of its own tables by its own
statement, with idempotency key and held items unique, and the answer is the whole resource. There are no API keys,
limits, deadlines, doorbells, metrics and logs, and no request is looked at after an error.
"""

import os
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import asyncpg
from aiohttp import web

from bench.load.targets import PROJECT
from bench.yardsticks.bare import serve
from bench.yardsticks.group import GroupCommit
from service.core.ids import new_id
from service.core.json_input import read_json
from service.core.submission import Defaults, Submission, read_submission
from service.doors.render import accepted_resource, json_response
from service.flow.accept_group import Accepted
from service.gateways.store.accepting import Created, NewRequest, insert_requests

COMMITS = web.AppKey("commits", GroupCommit[NewRequest, Created])
DEFAULTS = Defaults(project_id=PROJECT)


async def accept(request: web.Request) -> web.Response:
    """Check a request, keep it, and answer with it."""
    raw = await request.read()
    submission = read_submission(read_json(raw), raw, defaults=DEFAULTS, now=datetime.now(UTC))
    if not isinstance(submission, Submission):
        raise web.HTTPUnprocessableEntity(text=str(submission))
    new = NewRequest(
        request_id=new_id(),
        caller="bench",
        idempotency_key=request.headers.get("Idempotency-Key"),
        traceparent=None,
        submission=submission,
        digest=submission.digest,
    )
    created = await request.app[COMMITS].add(new)
    accepted = Accepted(request=new, created_at=created.at, may_have_moved=False)
    return json_response(accepted_resource(accepted, is_paused=False), status=202)


def build_app() -> web.Application:
    """Put the application together."""
    app = web.Application()

    async def open_all(app: web.Application) -> AsyncIterator[None]:
        connection = await asyncpg.connect(os.environ["RELEASE_DATABASE_URL"])

        async def write(requests: Sequence[NewRequest]) -> list[Created]:
            created = await insert_requests(connection, requests)
            return [created[request.request_id] for request in requests]

        app[COMMITS] = GroupCommit(write)
        yield
        await connection.close()

    app.cleanup_ctx.append(open_all)
    app.router.add_post("/v1/release-requests", accept)
    return app


if __name__ == "__main__":
    serve(build_app(), port_in="RELEASE_HTTP_PORT")
