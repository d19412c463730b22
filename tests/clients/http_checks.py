"""What curl and bare sockets see: pages, health, upgrades and their refusals."""

import asyncio
import json

from peers import WAIT_S

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455 section 1.3, with its answer
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": KEY, "Sec-WebSocket-Version": "13"}


async def curl(url, *words):
    """Status, headers in lower case and body, as curl reads them."""
    process = await asyncio.create_subprocess_exec(
        "curl", "--silent", "--show-error", "--include", "--http1.1", "--noproxy", "*", "--max-time", str(int(WAIT_S)), *words, url,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    out, err = await process.communicate()
    assert process.returncode == 0, f"curl: {process.returncode} {err.decode()}"
    head, _, body = out.partition(b"\r\n\r\n")
    return parse(head, body)


def parse(head, body):
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(status.split()[1]), headers, body


def header_words(headers):
    return [word for name, value in headers.items() for word in ("--header", f"{name}: {value}")]


async def upgrade(port, path, **changes):
    """The answer to an upgrade request whose headers are changed so (underscores for hyphens)."""
    headers = UPGRADE | {name.replace("_", "-"): value for name, value in changes.items()}
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WAIT_S)
    writer.close()
    return parse(head[:-4], b"")


def every(port):
    """Title and coroutine of each check."""
    base = f"http://127.0.0.1:{port}"

    async def health():
        status, headers, body = await curl(f"{base}/health")
        assert status == 200 and headers["content-type"].startswith("application/json"), (status, headers)
        assert "status" in json.loads(body), body

    async def page():
        status, headers, body = await curl(f"{base}/?room=lobby&name=Ada")
        assert status == 200 and headers["content-type"] == "text/html; charset=utf-8", (status, headers)
        assert b"<title>roomcast" in body and len(body) == int(headers["content-length"])
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        for path, kind in (("/chat.js", "text/javascript"), ("/chat.css", "text/css"), ("/favicon.svg", "image/svg+xml")):
            status, headers, body = await curl(base + path)
            assert status == 200 and headers["content-type"].startswith(kind) and body, (path, status, headers)

    async def unchanged():
        _, headers, _ = await curl(f"{base}/chat.js")
        status, _, body = await curl(f"{base}/chat.js", "--header", f"If-None-Match: {headers['etag']}")
        assert status == 304 and body == b"", (status, body)
        status, _, body = await curl(f"{base}/chat.js", "--header", 'If-None-Match: "other"')
        assert status == 200 and body

    async def head():
        status, headers, body = await curl(f"{base}/", "--head")
        assert status == 200 and body == b"" and int(headers["content-length"]) > 0, (status, headers)

    async def unknown():
        status, headers, body = await curl(f"{base}/nowhere")
        assert status == 404 and "error" in json.loads(body), (status, body)

    async def no_key():
        words = header_words({name: value for name, value in UPGRADE.items() if name != "Sec-WebSocket-Key"})
        status, _, _ = await curl(f"{base}/ws", *words)
        assert status == 400, status

    async def post():
        status, headers, _ = await curl(f"{base}/ws", "--request", "POST", *header_words(UPGRADE))
        assert status == 405, status
        assert "GET" in headers["allow"], headers

    async def version():
        status, headers, _ = await curl(f"{base}/ws", *header_words(UPGRADE | {"Sec-WebSocket-Version": "12"}))
        assert status == 426 and headers["sec-websocket-version"] == "13", (status, headers)

    async def no_upgrade():
        status, _, _ = await curl(f"{base}/ws")
        assert 400 <= status < 500, status

    async def accepted():
        for changes in ({}, {"Connection": "keep-alive, Upgrade"}, {"Upgrade": "WebSocket"}, {"Connection": "upgrade"}):
            status, headers, _ = await upgrade(port, "/ws", **changes)
            assert status == 101 and headers["sec-websocket-accept"] == ACCEPT, (changes, status, headers)
            assert headers["upgrade"].lower() == "websocket" and headers["connection"].lower() == "upgrade", headers
            assert "sec-websocket-protocol" not in headers and "sec-websocket-extensions" not in headers, headers

    async def extensions():
        for offer in ("x-unheard-of", "permessage-deflate; bogus=1", "x-unheard-of, permessage-deflate; server_max_window_bits=99"):
            status, headers, _ = await upgrade(port, "/ws", Sec_WebSocket_Extensions=offer)
            assert status == 101 and "sec-websocket-extensions" not in headers, (offer, status, headers)

    async def unknown_protocol():
        status, headers, _ = await upgrade(port, "/ws", Sec_WebSocket_Protocol="unheard.of")
        assert status == 101 and "sec-websocket-protocol" not in headers, (status, headers)

    return [
        ("curl: /health answers 200 and JSON", health()),
        ("curl: the chat page and its parts, with policy and types", page()),
        ("curl: an unchanged page is 304", unchanged()),
        ("curl: HEAD has the head of GET", head()),
        ("curl: an unknown path is 404 and JSON", unknown()),
        ("curl: 11 an upgrade without key is 400", no_key()),
        ("curl: 11 an upgrade by POST is 405", post()),
        ("curl: 11 version 12 is 426 and names 13", version()),
        ("curl: 11 /ws without upgrade is 4xx", no_upgrade()),
        ("socket: 11 upgrades in all spellings", accepted()),
        ("socket: 11 unknown extensions and parameters are declined", extensions()),
        ("socket: 13 unknown subprotocols are not echoed", unknown_protocol()),
    ]
