"""L1: parse the JSON and answer 202; nothing is kept."""

import os
from uuid import uuid4

import orjson
import uvloop
from aiohttp import web


async def accept(request: web.Request) -> web.Response:
    """Answer a request."""
    orjson.loads(await request.read())
    body = orjson.dumps({"id": str(uuid4())})
    return web.Response(body=body, status=202, content_type="application/json")


def build_app() -> web.Application:
    """Put the application together."""
    app = web.Application()
    app.router.add_post("/requests", accept)
    return app


def serve(app: web.Application, *, port_in: str = "BENCH_PORT") -> None:
    """Serve on the port that a variable names."""
    web.run_app(
        app,
        host="127.0.0.1",
        port=int(os.environ[port_in]),
        access_log=None,
        loop=uvloop.new_event_loop(),
        print=lambda *_: print("ready", flush=True),  # noqa: T201 - read by the parent
        backlog=512,
    )


if __name__ == "__main__":
    serve(build_app())
