# Runs uvicorn so that nobody notices its end: at SIGTERM it takes no more connections, serves those that it has for a moment in
# which their requests arrive, and only then shuts down. By itself it drops connections that it took just before.
#
# Arguments: "close" when no connection is for more than one request (else "keep"), then uvicorn's own.
import asyncio
import importlib
import multiprocessing
import sys

import uvicorn._subprocess
from uvicorn.main import main
from uvicorn.server import Server

FIRST_REQUEST_WITHIN = 1.0
CLOSE = (b"connection", b"close")

state = {"closing": sys.argv[1] == "close"}
sys.argv = ["uvicorn", *sys.argv[2:]]

# Worker processes inherit what is changed here.
uvicorn._subprocess.spawn = multiprocessing.get_context("fork")


def close_after_each_answer(protocol):
    cycle = protocol.RequestResponseCycle
    init = cycle.__init__

    def changed(self, *arguments, **options):
        init(self, *arguments, **options)
        if state["closing"]:
            self.default_headers = [*self.default_headers, CLOSE]

    cycle.__init__ = changed


for name in ("h11_impl", "httptools_impl", "zttp_impl"):
    try:
        close_after_each_answer(importlib.import_module(f"uvicorn.protocols.http.{name}"))
    except (ImportError, AttributeError):
        # Another version, or without the library of this one.
        continue

shutdown = Server.shutdown


async def drain_and_shut_down(self, *arguments, **options):
    state["closing"] = True
    loop = asyncio.get_running_loop()
    for server in self.servers:
        for listener in server.sockets or ():
            try:
                loop.remove_reader(listener.fileno())
            except (NotImplementedError, RuntimeError, ValueError):
                # This loop closes its listeners in order by itself.
                server.close()
    if not self.force_exit:
        await asyncio.sleep(FIRST_REQUEST_WITHIN)
    await shutdown(self, *arguments, **options)


Server.shutdown = drain_and_shut_down
main()
