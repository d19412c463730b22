// Unit tests of the page's parts that need no browser: chat-room.js (what is new, missing, confirmed) and chat-link.js
// (when to come back, when to give up), the latter with a socket and a clock of this file's.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

/** The page's own file as a module; node would take `.js` for CommonJS. */
async function load(file) {
  const text = await readFile(new URL(`../../src/pages/${file}`, import.meta.url), "utf8");
  return import(`data:text/javascript,${encodeURIComponent(text)}`);
}

const { Room } = await load("chat-room.js");
const { Link, backoff } = await load("chat-link.js");

const message = (offset, user = "u", text = `m${offset}`) => ({ type: "chat_message", user_id: user, message: text, offset });
const range = (from, to) => Array.from({ length: to - from + 1 }, (_, n) => message(from + n));
const offsets = (messages) => messages.map((m) => m.offset);
const reply = (fields) => ({ users: [], user_count: 0, epoch: "e1", offset: 0, ...fields });

function joined(fields) {
  const room = new Room("r");
  room.own.add("me");
  room.joined(reply(fields));
  return room;
}

test("backoff stays within doubled bounds and has an upper one", () => {
  assert.equal(backoff(0, 0), 0);
  assert.equal(backoff(0, 1), 500);
  assert.equal(backoff(3, 1), 4_000);
  assert.equal(backoff(10_000, 1), 15_000);
});

test("a first join takes the history; a repeated message is not new", () => {
  const room = new Room("r");
  assert.equal(room.joinCommand(50).since, undefined);
  const { fresh, broken } = room.joined(reply({ messages: range(3, 5), offset: 5 }));
  assert.deepEqual([offsets(fresh), broken, room.first, room.last], [[3, 4, 5], false, 3, 5]);
  assert.equal(room.published(message(5)), false);
  assert.equal(room.published(message(6)), true);
  assert.deepEqual(room.joinCommand(50).since, { offset: 6, epoch: "e1" });
});

test("older history comes in front; asking twice changes nothing", () => {
  const room = joined({ messages: range(51, 60), offset: 60 });
  assert.deepEqual(offsets(room.history(range(41, 50))), offsets(range(41, 50)));
  assert.deepEqual(room.history(range(41, 50)), []);
  assert.equal(room.first, 41);
});

test("a recovered join brings exactly what was missed", () => {
  const room = joined({ messages: range(1, 5), offset: 5 });
  const { fresh, broken } = room.joined(reply({ recovered: true, messages: range(4, 8), offset: 8 }));
  assert.deepEqual([offsets(fresh), broken, room.holes], [[6, 7, 8], false, []]);
});

test("a new epoch counts anew", () => {
  const room = joined({ messages: range(1, 5), offset: 5 });
  const { fresh, broken, restarted } = room.joined(reply({ epoch: "e2", recovered: false, messages: range(1, 2), offset: 2 }));
  assert.deepEqual([offsets(fresh), broken, restarted, room.last], [[1, 2], true, true, 2]);
  assert.equal(room.published(message(3)), true);
});

test("a history that no longer reaches leaves no hole to ask for", () => {
  const room = joined({ messages: range(1, 5), offset: 5 });
  const { fresh, broken, restarted } = room.joined(reply({ recovered: false, messages: range(20, 22), offset: 22 }));
  assert.deepEqual([offsets(fresh), broken, restarted, room.holes, room.last], [[20, 21, 22], true, false, [], 22]);
});

test("a jump opens a hole, history fills it from either end, surrender closes the rest", () => {
  const room = joined({ messages: range(1, 5), offset: 5 });
  assert.equal(room.published(message(10)), true);
  assert.deepEqual(room.holes, [{ from: 6, to: 9 }]);
  assert.deepEqual(offsets(room.history([message(5), message(8), message(9), message(10)])), [8, 9]);
  assert.deepEqual(room.holes, [{ from: 6, to: 7 }]);
  assert.deepEqual(offsets(room.history([message(6)])), [6]);
  assert.equal(room.surrender(6, 9), 1);
  assert.deepEqual(room.holes, []);
  assert.equal(room.published(message(11)), true);
});

test("dropped is a hole, also before anything newer came", () => {
  const room = joined({ messages: range(1, 5), offset: 5 });
  assert.equal(room.dropped({ from: 6, to: 8 }), 3);
  assert.equal(room.dropped({ from: 6, to: 8 }), 0);
  assert.equal(room.dropped({ from: "x" }), 0);
  assert.deepEqual(room.holes, [{ from: 6, to: 8 }]);
  assert.equal(room.published(message(9)), true);
  assert.deepEqual(offsets(room.history(range(6, 9))), [6, 7, 8]);
});

test("own messages are confirmed by id, or by text from the history, never by others", () => {
  const room = joined({ offset: 0 });
  const [a, b] = [room.compose("same"), room.compose("same")];
  room.published(message(1, "other", "same"));
  assert.equal(room.pending.length, 2);
  room.published({ ...message(2, "me", "same"), id: b.id });
  assert.deepEqual(room.pending, [a]);
  room.joined(reply({ recovered: true, messages: [message(3, "me", "same")], offset: 3 }));
  assert.deepEqual(room.pending, []);
});

test("people: counts stay exact beyond the list, and events that repeat change nothing", () => {
  const room = joined({ users: [{ user_id: "me", username: "Me" }, "__proto__"], user_count: 150 });
  assert.equal(room.userJoined({ user_id: "new", username: "New" }), true);
  assert.equal(room.userJoined({ user_id: "new" }), false);
  assert.equal(room.userCount, 151);
  assert.equal(room.userLeft({ user_id: "unlisted" }), true);
  assert.equal(room.userLeft({ user_id: "__proto__" }), true);
  assert.equal(room.userCount, 149);
  assert.deepEqual(room.people("me"), { shown: ["me", "new"], more: 147 });
  assert.equal(room.nameOf("new"), "New");
  const small = joined({ users: ["me"], user_count: 1 });
  assert.equal(small.userLeft({ user_id: "nobody" }), false);
});

test("typists: others only, and not for ever", () => {
  const room = joined({});
  room.typing({ user_id: "me", is_typing: true }, 0);
  room.typing({ user_id: "a", is_typing: true }, 0);
  room.typing({ user_id: "b", is_typing: true }, 0);
  room.typing({ user_id: "b", is_typing: false }, 1);
  assert.deepEqual(room.typists(5_999), ["a"]);
  assert.deepEqual(room.typists(6_000), []);
});

// ---- the link -------------------------------------------------------------------------------------------

/** A link whose sockets and time the test holds; `sockets` and `states` tell what it did. */
function linked(t) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
  t.mock.method(Math, "random", () => 1);
  const sockets = [];
  globalThis.WebSocket = class {
    static OPEN = 1;
    readyState = 1;
    sent = [];
    constructor() { sockets.push(this); }
    send(text) { this.sent.push(JSON.parse(text)); }
    close() {}
    hears(object) { this.onmessage({ data: JSON.stringify(object) }); }
    ends(code) { this.onclose({ code, reason: "" }); }
  };
  const states = [];
  const link = new Link("ws://here/ws", { state: (s) => states.push(s), open() {}, message() {}, closed() {} });
  link.connect();
  return { link, sockets, states, tick: (ms) => t.mock.timers.tick(ms), last: () => sockets.at(-1) };
}

const WELCOME = { type: "welcome", heartbeat_interval: 25 };

test("a lost link comes back with growing delays, and with small ones after it was stable", (t) => {
  const { sockets, states, tick, last } = linked(t);
  for (const delay of [500, 1_000, 2_000]) {
    last().ends(1006);
    const before = sockets.length;
    tick(delay - 1);
    assert.equal(sockets.length, before);
    tick(1);
    assert.equal(sockets.length, before + 1);
  }
  last().hears(WELCOME);
  assert.equal(states.at(-1).kind, "open");
  tick(5_001);
  last().ends(1006);
  assert.equal(states.at(-1).at - Date.now(), 500);
});

test("a server that stops says when to come back", (t) => {
  const { sockets, states, tick, last } = linked(t);
  last().hears(WELCOME);
  last().hears({ type: "server_shutdown", reconnect_after_ms: 7_000 });
  tick(1_000);
  last().ends(1001);
  assert.equal(states.at(-1).at - Date.now(), 6_000);
  tick(5_999);
  assert.equal(sockets.length, 1);
  tick(1);
  assert.equal(sockets.length, 2);
});

test("closes that would only be repeated are final, until a person asks", (t) => {
  const { link, sockets, states, tick, last } = linked(t);
  last().hears(WELCOME);
  last().ends(4008);
  assert.equal(states.at(-1).kind, "stopped");
  tick(100_000);
  assert.equal(sockets.length, 1);
  link.connect();
  assert.equal(sockets.length, 2);
});

test("silence: two intervals, one question, then the connection is given up", (t) => {
  const { states, tick, last } = linked(t);
  last().hears(WELCOME);
  const kinds = () => last().sent.map((m) => m.type);
  for (let n = 0; n < 4; n += 1) {
    tick(25_000);
    last().hears({ type: "heartbeat" });
  }
  assert.deepEqual(kinds(), ["pong", "pong", "pong", "pong"]);
  tick(75_000);
  assert.equal(kinds().at(-1), "ping");
  assert.equal(states.at(-1).kind, "open");
  tick(5_000);
  assert.equal(states.at(-1).kind, "waiting");
});

test("no welcome in time is a lost connection", (t) => {
  const { states, tick } = linked(t);
  tick(10_000);
  assert.equal(states.at(-1).kind, "waiting");
});
