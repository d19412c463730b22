// Unit tests of src/pages/chat-room.js and of the backoff: what is new, what is missing, what is confirmed.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

/** The page's own file as a module; node would take `.js` for CommonJS. */
async function load(file) {
  const text = await readFile(new URL(`../../src/pages/${file}`, import.meta.url), "utf8");
  return import(`data:text/javascript,${encodeURIComponent(text)}`);
}

const { Room } = await load("chat-room.js");
const { backoff } = await load("chat-link.js");

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
