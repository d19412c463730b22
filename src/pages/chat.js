// The chat page: joins one room, shows it, and keeps it through lost connections and restarted servers.
// Wires the three parts together: chat-link.js (connection), chat-room.js (knowledge), chat-log.js (list).

import { Link } from "./chat-link.js";
import { Log, avatar, make } from "./chat-log.js";
import { Room, textOf } from "./chat-room.js";

const HISTORY = 50; // messages asked for at once
const HOLE_MAX = 100; // messages of a hole asked for at once
const MESSAGE_BYTES_MAX = 256 * 1024; // well under the server's own limit, which closes the connection
const ROOM_BYTES_MAX = 255;
const NAME_BYTES_MAX = 128;
const TYPING_EVERY_MS = 2_500; // "still typing", more often than readers forget it
const TYPING_STOP_MS = 4_000;
const CHATTY_ROOM = 30; // with more people than this, coming and going is not noted in the log
const TAB_ID = "roomcast.tab";
const TAB_ROOM = "roomcast.joined";

const $ = (id) => document.getElementById(id);
const bytesOf = (text) => new TextEncoder().encode(text).length;
const log = new Log($("log"), $("list"), $("unsent"), trimmed, showUnread);

let room = null; // the joined room
let link = null;
let selfId = ""; // as the server calls this connection's user
let isJoined = false; // in the room right now
let filling = null; // the hole that is being asked for
let unseen = 0; // messages since the page was last looked at

// ---- who we are -----------------------------------------------------------------------------------------

/**
 * This tab's user id. It is out of the store while the page lives, so that a duplicated tab, which gets a copy of
 * the store, becomes somebody else, while a reloaded one stays who it was.
 */
function takeTabId() {
  const id = sessionStorage.getItem(TAB_ID) ?? `web-${crypto.getRandomValues(new Uint32Array(3)).join("-")}`;
  sessionStorage.removeItem(TAB_ID);
  addEventListener("pagehide", () => sessionStorage.setItem(TAB_ID, id));
  return id;
}

const tabId = takeTabId();

/** `#token=…` in the address: what follows the sign is not sent with any request. */
const token = new URLSearchParams(location.hash.slice(1)).get("token");

function socketUrl(username) {
  const url = new URL("/ws", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.search = new URLSearchParams({ user_id: tabId, username, heartbeat: "json" });
  return url.href;
}

// ---- the door -------------------------------------------------------------------------------------------

$("join").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("name").value.replace(/\p{Cc}/gu, "").trim();
  const roomName = $("room").value.trim();
  if (!name) return refuse("Please enter your name.", "name");
  if (bytesOf(name) > NAME_BYTES_MAX) return refuse("This name is too long.", "name");
  if (!roomName) return refuse("Please enter a room.", "room");
  if (bytesOf(roomName) > ROOM_BYTES_MAX) return refuse("This room's name is too long.", "room");
  enter(name, roomName);
});

function refuse(text, field) {
  $("door-error").textContent = text;
  $("door-error").hidden = false;
  $(field).focus();
}

function enter(name, roomName) {
  localStorage.setItem("roomcast.name", name);
  localStorage.setItem("roomcast.room", roomName);
  sessionStorage.setItem(TAB_ROOM, JSON.stringify({ name, room: roomName }));
  history.replaceState(null, "", `?${new URLSearchParams({ room: roomName })}${location.hash}`);
  room = new Room(roomName);
  room.own.add(tabId);
  filling = null;
  log.clear();
  $("room-name").textContent = roomName;
  $("door").hidden = true;
  $("door-error").hidden = true;
  $("app").hidden = false;
  titleIs(0);
  showPeople();
  showEmpty();
  $("text").focus();
  link = new Link(socketUrl(name), { state: showState, open: opened, message: received, closed }, token);
  link.connect();
}

function exit(error) {
  if (isJoined) link.send({ type: "leave_room", room: room.name });
  link.stop();
  room = link = null;
  isJoined = false;
  sessionStorage.removeItem(TAB_ROOM);
  $("app").hidden = true;
  $("door").hidden = false;
  document.title = "roomcast";
  if (error) refuse(error, "room");
  else $("room").focus();
}

/** Fills the door from the address or from last time; the address, or a reload, opens it at once. */
function arrive() {
  const asked = new URLSearchParams(location.search);
  let joined = {};
  try { joined = JSON.parse(sessionStorage.getItem(TAB_ROOM)) ?? {}; } catch { /* not ours: as if absent */ }
  const name = asked.get("name") ?? joined.name ?? localStorage.getItem("roomcast.name") ?? "";
  const roomName = asked.get("room") ?? joined.room ?? localStorage.getItem("roomcast.room") ?? "lobby";
  $("name").value = name;
  $("room").value = roomName;
  const reloaded = joined.room === roomName && joined.name === name;
  if ((asked.has("name") && asked.has("room")) || reloaded) $("join").requestSubmit();
  else $(name ? "room" : "name").focus();
}

// ---- the connection -------------------------------------------------------------------------------------

let countdown = 0;

function showState({ kind, at, reason }) {
  const text = {
    connecting: "Connecting…",
    open: "Connected",
    waiting: !navigator.onLine ? "Offline, trying again" : room.epoch === null ? "No answer, trying again" : "Reconnecting",
    stopped: reason ?? "Disconnected",
  }[kind];
  $("state").dataset.kind = kind;
  if ($("state-text").textContent !== text) $("state-text").textContent = text;
  $("now").hidden = kind !== "waiting" && kind !== "stopped";
  clearInterval(countdown);
  const count = () => {
    const seconds = Math.ceil((at - Date.now()) / 1000);
    $("state-count").textContent = kind === "waiting" && seconds > 0 ? ` in ${seconds} s` : "";
  };
  count();
  if (kind === "waiting") countdown = setInterval(count, 250);
}

$("now").addEventListener("click", () => link?.connect());
$("leave").addEventListener("click", () => exit());
addEventListener("online", () => link?.connect());
addEventListener("offline", () => link?.probe());
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  titleIs(0);
  if (link?.isOpen) link.probe();
  else if (link && $("state").dataset.kind === "waiting") link.connect();
});

function opened(welcome) {
  selfId = String(welcome.user_id ?? welcome.client_id ?? tabId);
  room.own.add(selfId);
  link.send(room.joinCommand(HISTORY));
}

function closed(code) {
  isJoined = false;
  filling = null;
  isTyping = false;
  showTyping();
  // 1009: one of ours was longer than this server takes; sending it again would only end the next connection.
  if (code === 1009) for (const entry of room.pending) entry.failed ??= "the server takes no message this long";
  showPending();
}

// ---- what comes from the server -------------------------------------------------------------------------

const RECEIVERS = new Map([
  ["room_joined", joined],
  ["chat_message", (message) => { if (room.published(message)) show([message], false); fillHoles(); }],
  ["message_history", historyCame],
  ["user_joined", (event) => { if (room.userJoined(event)) presence(event, "joined"); }],
  ["user_left", (event) => { if (room.userLeft(event)) presence(event, "left"); }],
  ["presence", (event) => { room.listed(event); showPeople(); }],
  ["kicked", ({ by }) => { isJoined = false; exit(`You were thrown out by ${room.nameOf(String(by))}.`); }],
  ["muted", ({ seconds }) => log.note(seconds > 0 ? `You are muted for ${seconds} s` : "You are not muted any more", "loud")],
  ["history_cleared", ({ by }) => log.note(`${room.nameOf(String(by))} has cleared the history`, "gap")],
  ["room_info", (reply) => { room.listed(reply); showPeople(); }],
  ["typing_indicator", (event) => { room.typing(event, Date.now()); showTyping(); }],
  ["broadcast", (event) => { log.note(`Announcement: ${textOf(event.message)}`, "loud"); showEmpty(); }],
  ["dropped", dropped],
  ["error", refused],
]);

function received(object) {
  if (object.room !== undefined && object.room !== room.name) return;
  RECEIVERS.get(object.type)?.(object);
}

function joined(reply) {
  isJoined = true;
  const { fresh, broken, restarted } = room.joined(reply);
  if (broken) log.note(restarted ? "The server was restarted: messages sent meanwhile may be missing here"
    : "Messages may be missing here: the connection was away for too long", "gap");
  if (restarted) log.newSegment();
  show(fresh, true);
  showPeople();
  for (const entry of room.pending) {
    if (entry.failed) continue;
    // The server may have taken it, and no longer remember: only a person can decide to say it twice.
    if (broken && !restarted) entry.failed = "the connection was lost";
    else link.send(room.sendCommand(entry));
  }
  showPending();
  fillHoles();
}

function show(messages, quiet) {
  log.add(messages.map((message) => {
    const own = room.own.has(String(message.user_id));
    return { message, own, name: room.nameOf(String(message.user_id)) };
  }), quiet);
  showPending();
  showTyping();
  showEmpty();
  if (!quiet && document.hidden) titleIs(unseen + messages.length);
}

function presence(event, verb) {
  const name = room.nameOf(String(event.user_id));
  if (room.userCount <= CHATTY_ROOM) log.note(`${name} ${verb}`);
  if (room.listIsThin) askForPeople();
  showPeople();
  showTyping();
  showEmpty();
}

function askForPeople() {
  link.send({ type: "get_users", room: room.name, id: "users" });
}

function refused({ id, message }) {
  if (id === "join") return exit(`${message}.`);
  if (id === "hole") return lose();
  if (room.failed(id, String(message))) return showPending();
  log.note(`The server says: ${message}`, "loud");
}

// ---- history and holes ----------------------------------------------------------------------------------

$("older").addEventListener("click", () => {
  $("older").disabled = true;
  if (!link.send({ type: "get_history", room: room.name, id: "older", limit: HISTORY, before: room.first })) $("older").disabled = false;
});

function historyCame(reply) {
  if (reply.epoch !== undefined && reply.epoch !== room.epoch) return; // asked before a restart
  const messages = Array.isArray(reply.messages) ? reply.messages : [];
  const fresh = room.history(messages);
  show(fresh, true);
  if (reply.id === "older") {
    $("older").disabled = false;
    if (!messages.length) room.first = 0; // there is nothing before it
    showOlder();
  } else if (reply.id === "hole") {
    if (fresh.length) filling = null;
    else lose();
    fillHoles();
  }
}

function dropped(event) {
  const count = room.dropped(event);
  if (count) log.note(`The connection was too slow for ${count} messages; fetching them`, "gap");
  if (event.events) askForPeople(); // comings and goings were among what was lost
  fillHoles();
}

/** Asks for what is missing, newest hole first, one question at a time. */
function fillHoles() {
  if (filling || !isJoined || !room.holes.length) return;
  filling = room.holes.at(-1);
  const limit = Math.min(HOLE_MAX, filling.to - filling.from + 1);
  link.send({ type: "get_history", room: room.name, id: "hole", limit, before: filling.to + 1 });
}

function lose() {
  const lost = filling ? room.surrender(filling.from, filling.to) : 0;
  if (lost) log.note(`${lost} messages could not be fetched any more`, "gap");
  filling = null;
}

function trimmed(offset) {
  room.trimmed(offset);
  showOlder();
}

function showOlder() {
  $("older").hidden = !(isJoined && room.first > 1);
}

// ---- writing --------------------------------------------------------------------------------------------

let isTyping = false;
let typedAt = 0;
let typingTimer = 0;

$("text").addEventListener("input", () => {
  fit();
  const empty = !$("text").value;
  $("send").disabled = !$("text").value.trim();
  if (empty) return typingIs(false);
  if (!isTyping || Date.now() - typedAt > TYPING_EVERY_MS) typingIs(true);
  clearTimeout(typingTimer);
  typingTimer = setTimeout(() => typingIs(false), TYPING_STOP_MS);
});

$("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("composer").requestSubmit();
});

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value;
  if (!text.trim()) return;
  if (bytesOf(text) > MESSAGE_BYTES_MAX) return void log.note("This message is too long to be sent", "loud");
  const entry = room.compose(text);
  $("text").value = "";
  $("send").disabled = true;
  fit();
  typingIs(false);
  if (isJoined) link.send(room.sendCommand(entry)); // else it goes out when the room is joined again
  log.toEnd();
  showPending();
  showEmpty();
});

function typingIs(value) {
  clearTimeout(typingTimer);
  if (!value && !isTyping) return;
  isTyping = value;
  typedAt = Date.now();
  if (isJoined) link.send({ type: "typing_indicator", room: room.name, is_typing: value });
}

/** The field grows with its text, up to the limit in the style sheet. */
function fit() {
  $("text").style.height = "auto";
  $("text").style.height = `${$("text").scrollHeight}px`;
}

function showPending() {
  if (!room) return;
  log.showPending(room.pending, (entry) => {
    entry.failed = null;
    if (isJoined) link.send(room.sendCommand(entry));
    showPending();
  }, (entry) => {
    room.discard(entry);
    showPending();
    showEmpty();
  });
}

// ---- around the log -------------------------------------------------------------------------------------

let typingShown = 0;

function showTyping() {
  clearTimeout(typingShown);
  const names = room.typists(Date.now()).map((id) => room.nameOf(id));
  $("typing").textContent = names.length === 0 ? ""
    : names.length === 1 ? `${names[0]} is typing…`
    : names.length === 2 ? `${names[0]} and ${names[1]} are typing…`
    : "Several people are typing…";
  if (names.length) typingShown = setTimeout(() => { if (room) showTyping(); }, 1_000); // one may have gone silent
}

function showPeople() {
  const { shown, more } = room.people(selfId);
  $("people-list").replaceChildren(...shown.map((id) => {
    const name = room.nameOf(id);
    const item = make("li", "", {}, avatar(id, name), make("span", "person", { dir: "auto", title: name }, name));
    if (id === selfId) item.append(make("span", "you", {}, "you"));
    return item;
  }));
  $("people-count").textContent = $("people-badge").textContent = String(room.userCount);
  $("people-more").hidden = more === 0;
  $("people-more").textContent = `and ${more} more`;
  showOlder();
}

function showEmpty() {
  $("empty").hidden = !isJoined || !log.isEmpty;
}

function showUnread(count) {
  $("newer").hidden = count === 0;
  $("newer").textContent = count === 1 ? "1 new message ↓" : `${count} new messages ↓`;
}

$("newer").addEventListener("click", () => { log.toEnd(); $("text").focus(); });

function titleIs(count) {
  unseen = count;
  if (room) document.title = `${count ? `(${count}) ` : ""}${room.name} · roomcast`;
}

function peopleShown(value) {
  $("app").classList.toggle("with-people", value);
  $("people-toggle").setAttribute("aria-expanded", String(value));
}

$("people-toggle").addEventListener("click", () => peopleShown(!$("app").classList.contains("with-people")));
addEventListener("keydown", (event) => { if (event.key === "Escape") peopleShown(false); });

$("share").addEventListener("click", async () => {
  const address = new URL(`/?${new URLSearchParams({ room: room.name })}`, location.href).href;
  try {
    await navigator.clipboard.writeText(address);
    $("share-text").textContent = "Copied";
  } catch { // no clipboard without https: let the address be copied by hand
    log.note(`Link to this room: ${address}`);
  }
  setTimeout(() => { $("share-text").textContent = "Copy link"; }, 2_000);
});

arrive();
