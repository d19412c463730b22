"""One face for many WebSocket libraries.

A `Peer` is one connection of one library. All that arrives goes to its inbox in order: `str` and `bytes` for messages,
`Pong`, and one `Closed` at the end. What a library cannot do is missing from its `can`. No check is made here.
"""

import asyncio
import base64
import contextlib
import json
import os
import re
import socket
import struct
import threading
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import websocket
import websockets

KIT = Path(os.environ["KIT"])
WAIT_S = 10.0  # any one thing that must happen
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Pong:
    payload: bytes


@dataclass(frozen=True)
class Closed:
    """`code`: of the server's close frame; None if it had none, 1006 if there was no such frame."""

    code: int | None


class Peer:
    name = ""
    can = frozenset()

    opened_since = []  # all peers since the last `drop_all`

    def __init__(self):
        self.inbox = asyncio.Queue()
        self.protocol = None
        Peer.opened_since.append(self)

    async def drop(self):
        """Frees what the connection holds here, however far it came; nothing more is read from it."""

    async def take(self):
        """The next thing that arrives."""
        return await asyncio.wait_for(self.inbox.get(), WAIT_S)


def linger_none(sock):
    """Closing this socket will reset the connection instead of ending it in order."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def drop_all():
    while Peer.opened_since:
        await Peer.opened_since.pop().drop()


class Websockets(Peer):
    name = "websockets"
    can = frozenset({"ping", "pong", "close", "fragments", "reset", "protocols", "binary", "big", "code"})

    async def open(self, url, protocols=()):
        self.ws = await websockets.connect(url, subprotocols=protocols or None, max_size=None, ping_interval=None, proxy=None)
        self.protocol = self.ws.subprotocol
        self.reader = asyncio.create_task(self.read())

    async def read(self):
        try:
            while True:
                self.inbox.put_nowait(await self.ws.recv())
        except websockets.ConnectionClosed as closed:
            self.inbox.put_nowait(Closed(closed.rcvd.code if closed.rcvd else 1006))

    async def send(self, message):
        await self.ws.send(message)

    async def ping(self, payload):
        await (await self.ws.ping(payload))
        self.inbox.put_nowait(Pong(payload))

    async def pong(self, payload):
        await self.ws.pong(payload)

    async def fragments(self, pieces, ping):
        async def parts():
            for piece in pieces:
                yield piece
                await self.ping(ping)

        await self.ws.send(parts(), text=True)

    async def close(self, code):
        await self.ws.close(code)

    async def reset(self):
        linger_none(self.ws.transport.get_extra_info("socket"))
        self.ws.transport.abort()

    async def drop(self):
        self.ws.transport.abort()
        await self.reader


class Aiohttp(Peer):
    name = "aiohttp"
    can = frozenset({"ping", "pong", "close", "reset", "protocols", "binary", "big", "code"})

    async def open(self, url, protocols=()):
        self.session = aiohttp.ClientSession()
        self.ws = await self.session.ws_connect(url, protocols=protocols, max_msg_size=0, autoping=False, compress=15)
        self.protocol = self.ws.protocol
        self.reader = asyncio.create_task(self.read())

    async def read(self):
        while True:
            message = await self.ws.receive()
            match message.type:
                case aiohttp.WSMsgType.TEXT | aiohttp.WSMsgType.BINARY:
                    self.inbox.put_nowait(message.data)
                case aiohttp.WSMsgType.PING:
                    await self.ws.pong(message.data)
                case aiohttp.WSMsgType.PONG:
                    self.inbox.put_nowait(Pong(bytes(message.data)))
                case aiohttp.WSMsgType.CLOSING:
                    return  # we close; `close` reports
                case aiohttp.WSMsgType.CLOSE:
                    return await self.closed(message.data)
                case _:
                    return await self.closed(1006)

    async def closed(self, code):
        self.inbox.put_nowait(Closed(code or None))
        await self.session.close()

    async def send(self, message):
        await (self.ws.send_str(message) if isinstance(message, str) else self.ws.send_bytes(message))

    async def ping(self, payload):
        await self.ws.ping(payload)

    async def pong(self, payload):
        await self.ws.pong(payload)

    async def close(self, code):
        await self.ws.close(code=code)
        await self.closed(self.ws.close_code)

    async def reset(self):
        linger_none(self.ws.get_extra_info("socket"))
        self.ws._response.connection.transport.abort()

    async def drop(self):
        self.reader.cancel()
        self.ws._response.close()
        await self.session.close()


class WebsocketClient(Peer):
    name = "websocket-client"
    can = frozenset({"ping", "pong", "close", "close-none", "fragments", "protocols", "binary", "big", "code"})

    async def open(self, url, protocols=()):
        self.loop = asyncio.get_running_loop()
        self.ws = await asyncio.to_thread(websocket.create_connection, url, timeout=WAIT_S, subprotocols=list(protocols))
        self.protocol = self.ws.subprotocol
        self.ws.settimeout(None)
        threading.Thread(target=self.read, daemon=True).start()

    def put(self, item):
        with contextlib.suppress(RuntimeError):  # everything is over, and the loop closed
            self.loop.call_soon_threadsafe(self.inbox.put_nowait, item)

    def read(self):
        """The library is a blocking one: this runs in a thread of its own, until the close frame or the end."""
        abnf = websocket.ABNF
        try:
            while True:
                opcode, frame = self.ws.recv_data_frame(control_frame=True)
                if opcode == abnf.OPCODE_TEXT:
                    self.put(frame.data.decode())
                elif opcode == abnf.OPCODE_BINARY:
                    self.put(frame.data)
                elif opcode == abnf.OPCODE_PONG:
                    self.put(Pong(frame.data))
                elif opcode == abnf.OPCODE_CLOSE:
                    return self.put(Closed(int.from_bytes(frame.data[:2], "big") or None))
        except (websocket.WebSocketException, OSError):
            self.put(Closed(1006))
        finally:
            self.ws.shutdown()

    async def send(self, message):
        opcode = websocket.ABNF.OPCODE_TEXT if isinstance(message, str) else websocket.ABNF.OPCODE_BINARY
        await asyncio.to_thread(self.ws.send, message, opcode)

    async def ping(self, payload):
        await asyncio.to_thread(self.ws.ping, payload)

    async def pong(self, payload):
        await asyncio.to_thread(self.ws.pong, payload)

    async def fragments(self, pieces, ping):
        abnf = websocket.ABNF
        for at, piece in enumerate(pieces):
            opcode = abnf.OPCODE_TEXT if at == 0 else abnf.OPCODE_CONT
            frame = abnf.create_frame(piece, opcode, fin=int(at == len(pieces) - 1))
            await asyncio.to_thread(self.ws.send_frame, frame)
            await self.ping(ping)

    async def close(self, code):
        payload = b"" if code is None else struct.pack("!H", code)
        await asyncio.to_thread(self.ws.send, payload, websocket.ABNF.OPCODE_CLOSE)

    async def drop(self):
        with contextlib.suppress(OSError, AttributeError):  # it has dropped its socket itself
            self.ws.sock.shutdown(socket.SHUT_RDWR)  # ends the reader, which closes it


class Puppet:
    """A node process that holds the connections of one JavaScript library; see puppet.mjs."""

    def __init__(self, library):
        self.library = library
        self.peers = {}
        self.process = None

    async def start(self):
        self.process = await asyncio.create_subprocess_exec(
            "node", "--experimental-websocket", "--no-warnings", str(HERE / "puppet.mjs"), self.library,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 24)
        self.reader = asyncio.create_task(self.read())

    async def read(self):
        while line := await self.process.stdout.readline():
            event = json.loads(line)
            self.peers[event["key"]].heard(event)

    async def say(self, **order):
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        await self.process.stdin.drain()


class Puppeted(Peer):
    puppet = None

    async def open(self, url, protocols=()):
        if self.puppet.process is None:
            await self.puppet.start()
        self.key = len(self.puppet.peers)
        self.puppet.peers[self.key] = self
        self.opened = asyncio.get_running_loop().create_future()
        await self.order("open", url=url, protocols=list(protocols))
        await asyncio.wait_for(self.opened, WAIT_S)

    def heard(self, event):
        match event["event"]:
            case "open":
                self.protocol = event["protocol"] or None
                self.opened.set_result(None)
            case "text":
                self.inbox.put_nowait(event["text"])
            case "binary":
                self.inbox.put_nowait(base64.b64decode(event["binary"]))
            case "pong":
                self.inbox.put_nowait(Pong(base64.b64decode(event["binary"])))
            case "close":
                code = None if event["code"] == 1005 else event["code"]
                if not self.opened.done():
                    self.opened.set_exception(ConnectionError(f"closed with {code} before it was open"))
                self.inbox.put_nowait(Closed(code))

    async def order(self, op, **fields):
        await self.puppet.say(key=self.key, op=op, **fields)

    async def send(self, message):
        if isinstance(message, str):
            await self.order("text", text=message)
        else:
            await self.order("binary", binary=base64.b64encode(message).decode())

    async def ping(self, payload):
        await self.order("ping", binary=base64.b64encode(payload).decode())

    async def pong(self, payload):
        await self.order("pong", binary=base64.b64encode(payload).decode())

    async def fragments(self, pieces, ping):
        for at, piece in enumerate(pieces):
            await self.order("fragment", binary=base64.b64encode(piece).decode(), fin=at == len(pieces) - 1)
            await self.ping(ping)

    async def close(self, code):
        await self.order("close", code=code)

    async def reset(self):
        await self.order("reset")

    async def drop(self):
        await self.order("drop")


class Ws(Puppeted):
    name = "ws (npm)"
    can = frozenset({"ping", "pong", "close", "close-none", "fragments", "reset", "protocols", "binary", "big", "code"})
    puppet = Puppet("ws")


class NodeOwn(Puppeted):
    name = "node's WebSocket"
    can = frozenset({"close-none", "protocols", "binary", "big", "code"})
    puppet = Puppet("own")


class Wscat(Peer):
    """The command line tool: a process for each connection, a line for each message."""

    name = "wscat"
    can = frozenset({"ping", "protocols"})
    PONG = re.compile(r'Received pong \(data: "(.*)"\)')

    async def open(self, url, protocols=()):
        asked = [word for protocol in protocols for word in ("-s", protocol)]
        self.process = await asyncio.create_subprocess_exec(
            str(KIT / "node_modules/.bin/wscat"), "--no-color", "--slash", "-P", "-c", url, *asked,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 24)
        self.reader = asyncio.create_task(self.read())

    async def read(self):
        while line := await self.process.stdout.readline():
            text = re.sub(r"^(> )*", "", line.decode().rstrip("\n"))
            pong = self.PONG.fullmatch(text)
            if not text.startswith("Received ping"):
                self.inbox.put_nowait(Pong(pong[1].encode()) if pong else text)
        await self.process.wait()
        self.inbox.put_nowait(Closed(None))  # it does not tell the code unless to a terminal

    async def line(self, text):
        self.process.stdin.write(text.encode() + b"\n")
        await self.process.stdin.drain()

    async def send(self, message):
        await self.line(message)

    async def ping(self, payload):
        await self.line(f"/ping {payload.decode()}")

    async def close(self, code):
        await self.line(f"/close {code}")

    async def drop(self):
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


EVERY = [Websockets, Aiohttp, WebsocketClient, Ws, NodeOwn, Wscat]
