// What this page knows of its room: which messages it has, who is there, who types, what is not yet sent.
// Knows neither socket nor page; every name from outside is a Map key, never a property.

const TYPING_MS = 6_000; // a typist who is not heard of again has stopped
const LISTED_MAX = 200; // people that the list shows; the count is exact beyond it

/** A message's text: strings as they are, any other JSON value as JSON. */
export function textOf(message) {
  return typeof message === "string" ? message : JSON.stringify(message) ?? "";
}

/** The server's user: a bare id or an object. */
function userOf(entry) {
  const id = typeof entry === "object" && entry !== null ? entry.user_id ?? entry.id : entry;
  const name = typeof entry === "object" && entry !== null ? entry.username ?? entry.name : undefined;
  return { id: String(id), name: typeof name === "string" && name !== "" ? name : undefined };
}

export class Room {
  name;
  epoch = null;
  first = 0; // lowest offset that the page has or has looked for
  last = 0; // highest offset seen
  holes = []; // {from, to}: offsets below `last` that are missing; ascending, apart
  own = new Set(); // every user id that this page has had
  pending = []; // own messages that the server has not confirmed, oldest first
  userCount = 0;
  #users = new Map(); // id → name or undefined, in order of arrival
  #typists = new Map(); // id → {name, until}
  #names = new Map(); // id → last known name, also of those who left
  #nextId = 1;

  constructor(name) {
    this.name = name;
  }

  // ---- joining and messages -------------------------------------------------------------------------

  /** The command that joins, or comes back to where the page was. */
  joinCommand(history) {
    const command = { type: "join_room", room: this.name, id: "join", history };
    if (this.epoch !== null) command.since = { offset: this.last, epoch: this.epoch };
    return command;
  }

  /** Takes `room_joined`. Says what is new, and whether something may be missing before it. */
  joined(reply) {
    this.#peopleAre(reply);
    this.#typists.clear();
    const messages = Array.isArray(reply.messages) ? reply.messages : [];
    const before = this.epoch;
    const restarted = before !== null && reply.epoch !== before;
    const broken = before !== null && (restarted || reply.recovered === false);
    if (before === null || restarted) {
      this.epoch = reply.epoch ?? "";
      this.holes = [];
      this.last = Math.max(Number(reply.offset) || 0, messages.at(-1)?.offset ?? 0);
      this.first = messages.length ? messages[0].offset : this.last + 1;
    } else if (broken && messages.length) {
      // The history no longer reaches to where we were: what lies between is gone, not to be asked for.
      this.last = Math.max(this.last, messages[0].offset - 1);
    }
    const fresh = before === null || restarted ? messages : messages.filter((m) => this.#take(m.offset));
    for (const message of fresh) this.#claim(message);
    this.last = Math.max(this.last, Number(reply.offset) || 0);
    return { fresh, broken, restarted };
  }

  /** Takes a message that was just published; false if the page has it. */
  published(message) {
    this.#typists.delete(String(message.user_id));
    if (message.offset && !this.#take(message.offset)) return false;
    this.#claim(message);
    return true;
  }

  /** Takes `message_history`: the messages among it that the page does not have. */
  history(messages) {
    // Newest first: each older one then lies just below `first`, or in a hole.
    const fresh = messages.slice().reverse().filter((m) => this.#take(m.offset)).reverse();
    for (const message of fresh) this.#claim(message);
    return fresh;
  }

  /** Takes `dropped`: what the server did not send because we read too slowly becomes a hole. */
  dropped({ from, to }) {
    if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to) || to <= this.last) return 0;
    this.holes.push({ from: Math.max(from, this.last + 1), to });
    this.last = to;
    return to - from + 1;
  }

  /** Forgets messages below `offset`, so that they can be asked for again. */
  trimmed(offset) {
    this.first = Math.max(this.first, offset);
    this.holes = this.holes.filter((hole) => hole.to >= offset);
  }

  /** Gives up on a hole that the history cannot fill; how many messages that loses. */
  surrender(from, to) {
    const lost = this.holes.filter((h) => h.from >= from && h.to <= to).reduce((sum, h) => sum + h.to - h.from + 1, 0);
    this.holes = this.holes.filter((h) => h.from < from || h.to > to);
    return lost;
  }

  /** Whether `offset` is new; then it is marked as had, and a jump ahead leaves a hole. */
  #take(offset) {
    if (offset > this.last) {
      if (offset > this.last + 1) this.holes.push({ from: this.last + 1, to: offset - 1 });
      this.last = offset;
      return true;
    }
    if (offset < this.first) {
      this.first = offset;
      return true;
    }
    const at = this.holes.findIndex((hole) => hole.from <= offset && offset <= hole.to);
    if (at < 0) return false;
    const { from, to } = this.holes[at];
    const rest = [{ from, to: offset - 1 }, { from: offset + 1, to }];
    this.holes.splice(at, 1, ...rest.filter((hole) => hole.from <= hole.to));
    return true;
  }

  // ---- own messages ---------------------------------------------------------------------------------

  /** Notes an own message that is about to be sent. */
  compose(text) {
    const entry = { id: `m${this.#nextId++}`, text, failed: null };
    this.pending.push(entry);
    return entry;
  }

  sendCommand(entry) {
    return { type: "chat_message", room: this.name, message: entry.text, id: entry.id };
  }

  failed(id, reason) {
    const entry = this.pending.find((p) => p.id === id);
    if (entry) entry.failed = reason;
    return entry;
  }

  discard(entry) {
    this.pending = this.pending.filter((p) => p !== entry);
  }

  /**
   * Finds the pending entry that `message` confirms: by its id when the echo carries one, else (what comes from the
   * history carries none) the oldest own entry with the same text.
   */
  #claim(message) {
    if (typeof message.username === "string") this.#names.set(String(message.user_id), message.username);
    if (!this.own.has(String(message.user_id))) return;
    const at = message.id !== undefined
      ? this.pending.findIndex((p) => p.id === message.id)
      : this.pending.findIndex((p) => p.text === message.message);
    if (at >= 0) this.pending.splice(at, 1);
  }

  // ---- people ---------------------------------------------------------------------------------------

  #peopleAre(reply) {
    this.#users = new Map();
    for (const entry of Array.isArray(reply.users) ? reply.users : []) this.#note(userOf(entry));
    this.userCount = Number(reply.user_count ?? reply.members_count) || this.#users.size;
  }

  #note({ id, name }) {
    this.#users.set(id, name ?? this.#users.get(id));
    if (name !== undefined) this.#names.set(id, name);
  }

  /** Takes the list anew (`room_info`). */
  listed(reply) {
    this.#peopleAre(reply);
  }

  /** Takes `user_joined`; false if that user was known to be here. */
  userJoined(event) {
    const user = userOf(event);
    const isNew = !this.#users.has(user.id);
    this.#note(user);
    if (isNew) this.userCount += 1;
    return isNew;
  }

  /** Takes `user_left`; false if nobody can have left. */
  userLeft(event) {
    const { id } = userOf(event);
    this.#typists.delete(id);
    const unlisted = this.userCount > this.#users.size;
    if (!this.#users.delete(id) && !unlisted) return false;
    this.userCount = Math.max(this.#users.size, this.userCount - 1);
    return true;
  }

  /** Whether asking for the list again would name people that it does not name now. */
  get listIsThin() {
    return this.#users.size < Math.min(this.userCount, LISTED_MAX / 4);
  }

  nameOf(id) {
    return this.#users.get(id) ?? this.#names.get(id) ?? `guest ${id.slice(0, 6)}`;
  }

  /** People to list, oneself first, and how many more there are. */
  people(ownId) {
    const ids = [...this.#users.keys()].filter((id) => id !== ownId);
    if (this.#users.has(ownId)) ids.unshift(ownId);
    const shown = ids.slice(0, LISTED_MAX);
    return { shown, more: Math.max(0, this.userCount - shown.length) };
  }

  // ---- typing ---------------------------------------------------------------------------------------

  typing(event, now) {
    const { id, name } = userOf(event);
    if (name !== undefined) this.#names.set(id, name);
    if (event.is_typing && !this.own.has(id)) this.#typists.set(id, now + TYPING_MS);
    else this.#typists.delete(id);
  }

  typists(now) {
    for (const [id, until] of this.#typists) if (until <= now) this.#typists.delete(id);
    return [...this.#typists.keys()];
  }
}
