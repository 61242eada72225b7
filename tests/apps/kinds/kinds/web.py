"""The same three pages over ASGI and WSGI: a quick one, a slow one, and one that comes bit by bit."""

import asyncio
import os
import time
from pathlib import Path

# Units of a team's own know the release only by its files.
VERSION = os.environ.get("ROADSTEAD_VERSION") or (Path(__file__).parent.parent / "VERSION").read_text().strip()
HEADERS = {"content-type": "text/plain", "x-release": VERSION}
SLOW_SECONDS = 3
STREAM_PARTS = 30
STREAM_PAUSE = 0.1


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    path = scope["path"]
    headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
    if path == "/slow":
        await asyncio.sleep(SLOW_SECONDS)
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if path == "/stream":
        for part in range(STREAM_PARTS):
            await send({"type": "http.response.body", "body": b"part %d\n" % part, "more_body": True})
            await asyncio.sleep(STREAM_PAUSE)
    await send({"type": "http.response.body", "body": b"whole\n"})


async def lifespan(receive, send):
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


def wsgi(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/slow":
        time.sleep(SLOW_SECONDS)
    start_response("200 OK", list(HEADERS.items()))
    return stream() if path == "/stream" else [b"whole\n"]


def stream():
    for part in range(STREAM_PARTS):
        yield b"part %d\n" % part
        time.sleep(STREAM_PAUSE)
    yield b"whole\n"
