# Stands in front of PostgreSQL (its protocol, version 3) and counts what the session of a migration asks. At one of these statements the
# server crashes: before it has heard it, or when it has done it and nobody has heard so.
#
#   doorkeeper.py PORT FOLDER
#
# FOLDER/plan holds `NUMBER before` or `NUMBER after`, and is removed when that was done; FOLDER/asked gets a line for each statement.
import asyncio
import os
import signal
import sys

PORT, FOLDER = int(sys.argv[1]), sys.argv[2]
SERVER = ("127.0.0.1", 5432)
# What libpq asks before anything else: for TLS, and for GSSAPI. Neither, for who stands between could not read.
ASKS_FIRST = {80877103, 80877104}
# A statement by itself, and one that is parsed, bound and executed.
QUERY, PARSE = b"Q", b"P"
READY = b"Z"
TAG = b"roadstead-migrate "


class Door:
    def __init__(self):
        self.count = 0

    def asked(self, text):
        """Whether the server is to crash at this statement, and when."""
        self.count += 1
        with open(f"{FOLDER}/asked", "a") as file:
            print(self.count, " ".join(text.decode(errors="replace").split())[:120], file=file)
        try:
            number, when = open(f"{FOLDER}/plan").read().split()
        except (OSError, ValueError):
            return None
        return when if int(number) == self.count else None


async def message(reader):
    kind = await reader.readexactly(1)
    length = await reader.readexactly(4)
    return kind, kind + length + await reader.readexactly(int.from_bytes(length, "big") - 4)


def crash():
    """One process of the server that dies so takes all others with it, and the server starts again."""
    postmaster = int(open("/var/lib/postgresql/15/main/postmaster.pid").readline())
    child = open(f"/proc/{postmaster}/task/{postmaster}/children").read().split()[0]
    os.remove(f"{FOLDER}/plan")
    os.kill(int(child), signal.SIGKILL)


async def begin(reader, writer):
    while True:
        length = await reader.readexactly(4)
        body = await reader.readexactly(int.from_bytes(length, "big") - 4)
        if int.from_bytes(body[:4], "big") not in ASKS_FIRST:
            return length + body
        writer.write(b"N")


async def serve(door, reader, writer):
    first = await begin(reader, writer)
    from_server, to_server = await asyncio.open_connection(*SERVER)
    to_server.write(first)
    is_migration, unheard = False, False

    async def asks():
        nonlocal is_migration, unheard
        while True:
            kind, text = await message(reader)
            is_migration = is_migration or TAG in text
            if is_migration and kind in (QUERY, PARSE):
                when = door.asked(text[5:].strip(b"\0"))
                if when == "before":
                    crash()
                    return
                unheard = unheard or when == "after"
            to_server.write(text)

    async def answers():
        while True:
            kind, text = await message(from_server)
            if not unheard:
                writer.write(text)
            elif kind == READY:
                crash()
                return

    both = [asyncio.ensure_future(asks()), asyncio.ensure_future(answers())]
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in both:
            one.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        for end in (to_server, writer):
            end.close()


async def main():
    door = Door()

    async def come(reader, writer):
        try:
            await serve(door, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    def anew(*_):
        door.count = 0

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, anew)
    async with await asyncio.start_server(come, "0.0.0.0", PORT) as server:
        await server.serve_forever()


asyncio.run(main())
