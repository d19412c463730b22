"""What real clients demand, checked through each library of peers.py, then with curl and bare sockets, then at SIGTERM.

Waits for messages only. That something does not arrive is shown by what arrives next instead.
"""

import asyncio
import itertools
import json
import re
import signal
import sys
import time
import traceback
from datetime import datetime
from pathlib import Path

import aiohttp
import websockets

import http_checks
from peers import EVERY, WAIT_S, Closed, Pong, Websockets, drop_all

MESSAGE_BYTES_MAX = 1 << 20
EXIT_S = 10.0
ODD_TEXTS = ["a single space next", " ", "NUL \0 inside", "line\u2028separator", "𝒜stral 👩‍👩‍👧‍👦 🎉", 'quotes " \\ and \t tabs\n',
             "</script>", "__proto__", "e\u0301 \u202e", "x" * 70_000]

HERE = f"{Path(__file__).parent}/"

rooms = (f"room {n}" for n in itertools.count())
checks = []
tally = {"passed": 0, "failed": 0}


class Server:
    """A server process."""

    def __init__(self, binary):
        self.binary = binary

    async def start(self, port=0, *flags):
        self.process = await asyncio.create_subprocess_exec(
            self.binary, "--listen", f"127.0.0.1:{port}", "--rate-limit", "off", *flags, stdout=asyncio.subprocess.PIPE)
        self.port = await asyncio.wait_for(self.find_port(), WAIT_S)
        self.drain = asyncio.create_task(self.process.stdout.read())
        return self

    async def find_port(self):
        while line := await self.process.stdout.readline():
            if found := re.fullmatch(rb"chat page: http://\S+:(\d+)/", line.strip()):
                return int(found[1])
        raise RuntimeError("the server ended before it said where its chat page is")

    def url(self, path="/ws"):
        return f"ws://127.0.0.1:{self.port}{path}"

    async def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), EXIT_S)


def check(title, *needs):
    """Registers a check that is run through every library that can do what it needs."""

    def register(body):
        checks.append((title, frozenset(needs), body))
        return body

    return register


async def report(title, body):
    try:
        await body
        tally["passed"] += 1
        print(f"ok   {title}", flush=True)
    except Exception as error:
        tally["failed"] += 1
        ours = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(HERE)]
        print(f"FAIL {title}\n     {type(error).__name__}: {error}")
        for frame in ours[1:]:
            print(f"     {frame.filename.removeprefix(HERE)}:{frame.lineno} {frame.line}", flush=True)
    await drop_all()


# ---- words of a client ------------------------------------------------------------------------------------

class Talk:
    """A peer that speaks the protocol, opened on `server`."""

    def __init__(self, peer):
        self.peer = peer

    async def say(self, kind, **fields):
        await self.peer.send(json.dumps({"type": kind, **fields}))

    async def hear(self, kind, **fields):
        """The next message: has to be of this type and have these fields."""
        raw = await self.peer.take()
        assert isinstance(raw, str), f"wanted {kind}, got {raw!r}"
        got = json.loads(raw)
        assert got.get("type") == kind, f"wanted {kind}, got {raw[:300]}"
        for name, value in fields.items():
            assert got.get(name) == value, f"{kind}.{name}: wanted {value!r}, got {raw[:300]}"
        return got

    async def join(self, room, count):
        await self.say("join_room", room=room)
        return await self.hear("room_joined", room=room, members_count=count)

    async def nothing_else(self):
        """Nothing is on its way: the answer to a ping is the next thing."""
        await self.say("ping")
        await self.hear("pong")

    async def gone(self):
        """The next thing is the end."""
        end = await self.peer.take()
        assert isinstance(end, Closed), f"wanted the end, got {end!r}"
        return end.code


async def talk(kind, server, **how):
    peer = kind()
    await peer.open(server.url(), **how)
    one = Talk(peer)
    welcome = await one.hear("welcome")
    assert isinstance(welcome["message"], str) and welcome["message"]
    assert isinstance(welcome["client_id"], str) and welcome["client_id"]
    one.id = welcome.get("user_id", welcome["client_id"])
    return one


async def pair(kind, server):
    """Two in a new room, who have heard of each other."""
    room = next(rooms)
    one, two = await talk(kind, server), await talk(kind, server)
    await one.join(room, 1)
    await two.join(room, 2)
    await one.hear("user_joined", room=room, user_id=two.id, members_count=2)
    return room, one, two


def is_time(value):
    """Whether JavaScript's Date takes it: a number, or ISO 8601."""
    return isinstance(value, (int, float)) or bool(datetime.fromisoformat(value))


# ---- the native protocol ----------------------------------------------------------------------------------

@check("1 welcome comes first; every connection has its own id")
async def welcome(kind, server):
    one, two = await talk(kind, server), await talk(kind, server)
    assert one.id != two.id
    await one.nothing_else()


@check("2 join: counts, user_joined to the others, joining twice counts once")
async def join(kind, server):
    room, one, two = await pair(kind, server)
    await two.join(room, 2)
    await one.say("chat_message", room=room, message="once")
    for each in (one, two):
        await each.hear("chat_message", message="once")
    await one.say("chat_message", room=room, message="fence")
    for each in (one, two):
        await each.hear("chat_message", message="fence")
        await each.nothing_else()


@check("3 leave: room_left, user_left; nothing more arrives")
async def leave(kind, server):
    room, one, two = await pair(kind, server)
    await two.say("leave_room", room=room)
    await two.hear("room_left", room=room)
    await one.hear("user_left", room=room, user_id=two.id, members_count=1)
    await one.say("chat_message", room=room, message="alone")
    await one.hear("chat_message", message="alone")
    await two.nothing_else()


@check("3 a close is a leave", "code")
async def close_leaves(kind, server):
    room, one, two = await pair(kind, server)
    await two.peer.close(1000)
    await one.hear("user_left", room=room, user_id=two.id, members_count=1)


@check("3 a reset connection is a leave, at once", "reset")
async def reset_leaves(kind, server):
    room, one, two = await pair(kind, server)
    began = time.monotonic()
    await two.peer.reset()
    await one.hear("user_left", room=room, user_id=two.id, members_count=1)
    assert time.monotonic() - began < 5, "not by a timeout"


@check("4 chat: to all members, the sender too, once, in order, unchanged, dated")
async def chat(kind, server):
    room, one, two = await pair(kind, server)
    for text in ODD_TEXTS:
        await one.say("chat_message", room=room, message=text)
    for each in (one, two):
        for text in ODD_TEXTS:
            got = await each.hear("chat_message", room=room, user_id=one.id, message=text)
            assert is_time(got["timestamp"])
        await each.nothing_else()
    for text in ODD_TEXTS[:3]:
        await two.say("chat_message", room=room, message=text)
    for text in ODD_TEXTS[:3]:
        await one.hear("chat_message", user_id=two.id, message=text)


@check("4 many in flight keep their order")
async def many(kind, server):
    room, one, two = await pair(kind, server)
    for n in range(300):
        await one.say("chat_message", room=room, message=f"{n}")
    for n in range(300):
        for each in (one, two):
            await each.hear("chat_message", message=f"{n}")


@check("5 broadcast: to all others, not to the sender")
async def broadcast(kind, server):
    one, two = await talk(kind, server), await talk(kind, server)
    await one.say("broadcast", message="from one")
    got = await two.hear("broadcast", message="from one")
    assert is_time(got["timestamp"])
    await two.say("broadcast", message="from two")
    await one.hear("broadcast", message="from two")
    await two.nothing_else()


@check("6 ping is answered, pong is taken quietly")
async def ping(kind, server):
    one = await talk(kind, server)
    await one.say("ping")
    await one.hear("pong")
    await one.say("pong")
    await one.nothing_else()


@check("7 get_stats counts clients and rooms; an emptied room is gone")
async def stats(kind, server):
    room, one, two = await pair(kind, server)
    await one.say("get_stats")
    got = await one.hear("server_stats")
    assert got["rooms"][room] == 2 and got["total_clients"] >= 2 and got["total_rooms"] >= 1, got
    await two.say("leave_room", room=room)
    await two.hear("room_left")
    await one.hear("user_left", user_id=two.id)
    await one.say("leave_room", room=room)
    await one.hear("room_left")
    await two.say("get_stats")
    got = await two.hear("server_stats")
    assert room not in got["rooms"], got


ERRORS = [
    ('{"type":"dance"}', "Unknown message type: dance"),
    ('{"room":"x"}', None),
    ('{"type":"join_room"}', "Room name is required"),
    ('{"type":"join_room","room":""}', "Room name is required"),
    ('{"type":"leave_room"}', "Room name is required"),
    ('{"type":"leave_room","room":"never joined"}', "You are not in this room"),
    ('{"type":"chat_message","message":"no room"}', "Room and message are required"),
    ('{"type":"chat_message","room":"never joined"}', "Room and message are required"),
    ('{"type":"chat_message","room":"never joined","message":""}', "Room and message are required"),
    ('{"type":"chat_message","room":"never joined","message":"x"}', "You are not in this room"),
    ("not json", "Invalid JSON format"),
    ('{"type":"ping"', "Invalid JSON format"),
]


@check("8 errors have the texts that clients know, and the connection stays")
async def errors(kind, server):
    one = await talk(kind, server)
    for raw, text in ERRORS:
        await one.peer.send(raw)
        got = await one.hear("error")
        assert got["message"] == text or (text is None and got["message"].startswith("Unknown message type")), (raw, got)
    await one.nothing_else()


# ---- RFC 6455 ---------------------------------------------------------------------------------------------

@check("11 pings of 125 bytes are echoed, unasked pongs ignored", "ping", "pong")
async def pings(kind, server):
    one = await talk(kind, server)
    for payload in (b"x" * 125, b"x", bytes(range(125))):
        await one.peer.ping(payload)
        assert await one.peer.take() == Pong(payload)
    await one.peer.pong(b"nobody asked")
    await one.nothing_else()


@check("11 a ping is answered", "ping")
async def short_ping(kind, server):
    one = await talk(kind, server)
    await one.peer.ping(b"hello")
    assert await one.peer.take() == Pong(b"hello")


@check("11 fragments: cut inside a character, empty ones, pings between them", "fragments")
async def fragments(kind, server):
    room, one, two = await pair(kind, server)
    text = "né 🎉 ende"
    whole = json.dumps({"type": "chat_message", "room": room, "message": text}, ensure_ascii=False).encode()
    cut = whole.index("🎉".encode()) + 2
    pieces = [whole[:5], b"", whole[5:cut], whole[cut:cut + 1], whole[cut + 1:], b""]
    await one.peer.fragments(pieces, b"between")
    await two.hear("chat_message", message=text)
    got = [await one.peer.take() for _ in range(len(pieces) + 1)]
    assert got.count(Pong(b"between")) == len(pieces), got
    assert [json.loads(item)["message"] for item in got if isinstance(item, str)] == [text]


def echoed(code, need):
    @check(f"11 the close code {code or 'none'} is echoed", "code", need)
    async def close(kind, server):
        one = await talk(kind, server)
        await one.peer.close(code)
        assert await one.gone() == code


for each_code in (1000, 3000, 4321):
    echoed(each_code, "code")
echoed(1001, "close")
echoed(None, "close-none")


@check("11 binary and text are echoed as they came on /echo", "binary")
async def echo(kind, server):
    peer = kind()
    await peer.open(server.url("/echo"))
    for message in ("text", "é🎉", "", b"", bytes(range(256)), b"\xff" * 70_000, "x" * 65_536):
        await peer.send(message)
        assert await peer.take() == message


@check("11 a message of exactly 1 MiB is taken, one byte more is closed with 1009", "big")
async def big(kind, server):
    one = Talk(kind())
    await one.peer.open(server.url("/echo"))
    await one.peer.send("m" * MESSAGE_BYTES_MAX)
    assert await one.peer.take() == "m" * MESSAGE_BYTES_MAX
    try:
        await one.peer.send("m" * (MESSAGE_BYTES_MAX + 1))
    except (OSError, websockets.ConnectionClosed, aiohttp.ClientError):
        pass  # the library saw the close while it was still sending
    assert await one.gone() == 1009


@check("13 subprotocols: the first known one of those offered, or none", "protocols")
async def protocols(kind, server):
    for offered, chosen in ((["roomcast.v1"], "roomcast.v1"), (["chat"], "chat"), (["chat", "roomcast.v1"], "chat"),
                            (["unheard.of", "roomcast.v1"], "roomcast.v1"), ([], None)):
        one = await talk(kind, server, protocols=offered)
        if kind.name != "wscat":  # it does not say which; that it connects means that it agrees
            assert one.peer.protocol == chosen, (offered, one.peer.protocol)
        await one.nothing_else()


# ---- once, not per library --------------------------------------------------------------------------------

async def together(server):
    """All libraries in one room."""
    room = next(rooms)
    everyone = []
    for kind in EVERY:
        one = await talk(kind, server)
        await one.join(room, len(everyone) + 1)
        for other in everyone:
            await other.hear("user_joined", user_id=one.id, members_count=len(everyone) + 1)
        everyone.append(one)
    for sender in everyone:
        await sender.say("chat_message", room=room, message=sender.peer.name)
        for each in everyone:
            await each.hear("chat_message", user_id=sender.id, message=sender.peer.name)


async def heartbeats(binary):
    server = await Server(binary).start(0, "--ping-interval", "1s")
    try:
        peer = Websockets()
        await peer.open(server.url("/ws?heartbeat=json"))
        one, plain = Talk(peer), await talk(Websockets, server)
        await one.hear("welcome")
        for _ in range(2):
            assert is_time((await one.hear("heartbeat"))["timestamp"])
            await one.say("pong")
        await plain.nothing_else()
    finally:
        await server.stop()


async def shutdown(server, binary):
    """SIGTERM: 1001 to every client, exit status 0 in time, and the port is free at once."""
    everyone = [await talk(kind, server) for kind in EVERY for _ in range(3)]
    began = time.monotonic()
    status = await server.stop()
    took = time.monotonic() - began
    assert status == 0, f"exit status {status}"
    for one in everyone:
        raw = await one.peer.take()
        if isinstance(raw, str) and json.loads(raw)["type"] == "server_shutdown":
            raw = await one.peer.take()
        assert isinstance(raw, Closed), f"{one.peer.name}: {raw!r}"
        assert raw.code == 1001 or "code" not in one.peer.can, f"{one.peer.name} saw {raw.code}"
    assert took < EXIT_S
    again = await Server(binary).start(server.port)
    assert again.port == server.port
    await (await talk(Websockets, again)).nothing_else()
    assert await again.stop() == 0


async def main(binary):
    server = await Server(binary).start()
    for kind in EVERY:
        for title, needs, body in checks:
            if needs <= kind.can:
                await report(f"{kind.name}: {title}", body(kind, server))
    await report("all libraries in one room", together(server))
    for title, body in http_checks.every(server.port):
        await report(title, body)
    await report("6 heartbeats come to those who asked, at their interval", heartbeats(binary))
    await report("10 SIGTERM: 1001 to all, exit status 0, the port is free at once", shutdown(server, binary))
    print(f"{tally['passed']} passed, {tally['failed']} failed", flush=True)
    return 1 if tally["failed"] else 0


if __name__ == "__main__":
    code = asyncio.run(main(sys.argv[1]))
    sys.stdout.flush()
    sys.exit(code)
