"""A peer for comparisons: echo and rooms on websockets, the usual WebSocket library of Python."""

import asyncio
import json
import os
import sys
from collections import defaultdict
from datetime import datetime, timezone

# The folder of this file has the library's name, and would be found in its place.
sys.path = [path for path in sys.path if os.path.realpath(path or ".") != os.path.dirname(os.path.realpath(__file__))]

import uvloop  # noqa: E402
from websockets.asyncio.server import broadcast, serve  # noqa: E402
from websockets.exceptions import ConnectionClosed  # noqa: E402

rooms = defaultdict(set)


def text_of(message):
    return json.dumps(message, separators=(",", ":"))


async def echo(socket):
    try:
        async for message in socket:
            await socket.send(message)
    except ConnectionClosed:
        pass


async def member(socket):
    mine = set()
    try:
        async for message in socket:
            asked = json.loads(message)
            room = asked["room"]
            if asked["type"] == "join_room":
                rooms[room].add(socket)
                mine.add(room)
                answer = {"type": "room_joined", "room": room, "members_count": len(rooms[room])}
                await socket.send(text_of(answer))
            elif asked["type"] == "chat_message":
                now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
                said = {"type": "chat_message", "room": room, "user_id": "u"}
                said |= {"message": asked["message"], "timestamp": now}
                broadcast(rooms[room], text_of(said))
    except ConnectionClosed:
        pass
    finally:
        for room in mine:
            rooms[room].discard(socket)


async def main():
    port, mode = sys.argv[1:]
    play = echo if mode == "echo" else member
    async with serve(play, "127.0.0.1", int(port), compression=None, backlog=4096, ping_interval=None):
        await asyncio.Future()


uvloop.run(main())
