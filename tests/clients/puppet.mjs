// Holds connections of one JavaScript library for peers.py: orders come as JSON lines on stdin, what happens goes out
// as JSON lines on stdout.  Argument: `ws` for npm's, `own` for the WebSocket that node itself has.

import { createRequire } from "node:module";
import readline from "node:readline";

const library = process.argv[2];
const sockets = new Map();
const tell = (key, event, fields = {}) => process.stdout.write(`${JSON.stringify({ key, event, ...fields })}\n`);
const base64 = (bytes) => Buffer.from(bytes).toString("base64");
const bytesOf = (order) => Buffer.from(order.binary, "base64");

function openWs(key, url, protocols) {
  const { WebSocket } = createRequire(`${process.env.KIT}/`)("ws");
  const socket = new WebSocket(url, protocols, { maxPayload: 0 });
  socket.on("open", () => tell(key, "open", { protocol: socket.protocol }));
  socket.on("message", (bytes, isBinary) => (isBinary
    ? tell(key, "binary", { binary: base64(bytes) })
    : tell(key, "text", { text: bytes.toString() })));
  socket.on("pong", (bytes) => tell(key, "pong", { binary: base64(bytes) }));
  socket.on("close", (code) => tell(key, "close", { code }));
  socket.on("error", () => {}); // `close` follows
  return socket;
}

function openOwn(key, url, protocols) {
  const socket = new WebSocket(url, protocols);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => tell(key, "open", { protocol: socket.protocol });
  socket.onmessage = ({ data }) => (typeof data === "string"
    ? tell(key, "text", { text: data })
    : tell(key, "binary", { binary: base64(data) }));
  socket.onclose = ({ code }) => tell(key, "close", { code });
  return socket;
}

const ORDERS = {
  open: (_, { key, url, protocols }) => sockets.set(key, (library === "ws" ? openWs : openOwn)(key, url, protocols)),
  text: (socket, { text }) => socket.send(text),
  binary: (socket, order) => socket.send(bytesOf(order)),
  ping: (socket, order) => socket.ping(bytesOf(order)),
  pong: (socket, order) => socket.pong(bytesOf(order)),
  fragment: (socket, order) => socket.send(bytesOf(order), { binary: false, fin: order.fin }),
  close: (socket, { code }) => (code === null ? socket.close() : socket.close(code)),
  drop: (socket) => (library === "ws" ? socket.terminate() : socket.close()),
  reset: (socket) => socket._socket.resetAndDestroy(),
};

readline.createInterface({ input: process.stdin })
  .on("line", (line) => {
    const order = JSON.parse(line);
    ORDERS[order.op](sockets.get(order.key), order);
  })
  .on("close", () => process.exit(0));
