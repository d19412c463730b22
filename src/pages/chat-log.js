// The list of messages on the page. Places what it is given; decides nothing about what is new.
// Text from outside becomes text nodes only.

import { textOf } from "./chat-room.js";

const SHOWN_MAX = 1_000; // messages kept on the page; older ones can be asked for again
const GROUP_MS = 5 * 60_000; // messages of one author within this time share a heading
const LONG_CHARS = 3_000; // beyond these a message is folded
const LONG_LINES = 40;
const HUES = 12; // classes hue-0 … in the style sheet
const NEAR_END_PX = 80;

const TIME = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat([], { weekday: "long", day: "numeric", month: "long", year: "numeric" });
const FULL = new Intl.DateTimeFormat([], { dateStyle: "full", timeStyle: "medium" });

/** An element with classes, properties and children; strings become text nodes. */
export function make(tag, classes, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  if (classes) element.className = classes;
  element.append(...children);
  return element;
}

/** The same colour for the same user everywhere, without the server's help. */
export function hueOf(id) {
  let hash = 7;
  for (const char of id) hash = (hash * 31 + char.codePointAt(0)) % 1_000_003;
  return `hue-${hash % HUES}`;
}

/** The first letter or sign of a name as a reader sees it. */
export function initialOf(name) {
  const [first] = new Intl.Segmenter().segment(name.trim() || "?");
  return first.segment.toLocaleUpperCase();
}

export function avatar(id, name) {
  const face = make("span", `avatar ${hueOf(id)}`, {}, initialOf(name));
  face.setAttribute("aria-hidden", "true");
  return face;
}

export class Log {
  #scroller; #list; #unsent; #onTrim; #segment = 0; #stuck = true; #unread = 0; #onUnread;

  /** `onTrim(offset)`: messages below `offset` left the page. `onUnread(n)`: n messages came below the view. */
  constructor(scroller, list, unsent, onTrim, onUnread) {
    this.#scroller = scroller;
    this.#list = list;
    this.#unsent = unsent;
    this.#onTrim = onTrim;
    this.#onUnread = onUnread;
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => { if (this.#stuck) this.toEnd(); }).observe(scroller);
  }

  clear() {
    this.#list.replaceChildren();
    this.#unsent.replaceChildren();
    this.#segment = 0;
    this.toEnd();
  }

  get isEmpty() {
    return !this.#list.childElementCount && !this.#unsent.childElementCount;
  }

  toEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#stuck = true;
    this.#setUnread(0);
  }

  /** Adds messages ({message, name, own}) where their offsets belong; `quiet` ones are not read out. */
  add(entries, quiet) {
    const { scrollTop, scrollHeight } = this.#scroller;
    this.#list.setAttribute("aria-busy", String(quiet));
    let below = 0;
    for (const entry of entries) {
      const item = this.#message(entry);
      const before = this.#placeOf(entry.message.offset);
      this.#list.insertBefore(item, before);
      this.#group(item);
      if (item.nextElementSibling) this.#group(item.nextElementSibling);
      if (!before && !entry.own) below += 1;
    }
    this.#trim();
    if (this.#stuck) this.toEnd();
    else if (below) this.#setUnread(this.#unread + below);
    else this.#scroller.scrollTop = scrollTop + this.#scroller.scrollHeight - scrollHeight; // older ones came above
    this.#list.setAttribute("aria-busy", "false");
  }

  /** Adds a line of the page itself; gives the element, so that its text can follow what happens. */
  note(text, kind = "") {
    const item = make("li", `note ${kind}`, {}, text);
    this.#list.append(item);
    if (this.#stuck) this.toEnd();
    return item;
  }

  /** From here on offsets count anew: nothing is placed above this line any more. */
  newSegment() {
    this.#segment += 1;
  }

  /** Shows own messages that are not confirmed; `retry` and `discard` get the entry. */
  showPending(pending, retry, discard) {
    const items = pending.map((entry) => {
      const bubble = make("div", "bubble", {}, make("p", "text", { dir: "auto" }, entry.text));
      if (entry.failed) {
        bubble.append(make("p", "why", {}, `Not sent: ${entry.failed} `,
          make("button", "link", { type: "button", onclick: () => retry(entry) }, "Try again"), " ",
          make("button", "link", { type: "button", onclick: () => discard(entry) }, "Discard")));
      } else bubble.append(make("span", "when", {}, "sending…"));
      return make("li", `msg own pending${entry.failed ? " failed" : ""}`, {}, bubble);
    });
    this.#unsent.replaceChildren(...items);
    if (this.#stuck) this.toEnd();
  }

  #message({ message, name, own }) {
    const id = String(message.user_id);
    const time = new Date(message.timestamp);
    const known = !Number.isNaN(time.getTime());
    const text = textOf(message.message);
    const body = make("p", "text", { dir: "auto" }, text);
    const bubble = make("div", "bubble", {}, make("span", "author", { dir: "auto" }, own ? "You" : name), body);
    if (text.length > LONG_CHARS || text.split("\n", LONG_LINES + 1).length > LONG_LINES) this.#fold(body, bubble);
    if (known) bubble.append(make("time", "when", { dateTime: time.toISOString(), title: FULL.format(time) }, TIME.format(time)));
    const item = make("li", `msg ${own ? "own" : ""} ${hueOf(id)}`, {}, ...(own ? [] : [avatar(id, name)]), bubble);
    item.dataset.offset = message.offset ?? 0;
    item.dataset.segment = this.#segment;
    item.dataset.user = id;
    item.dataset.day = known ? DAY.format(time) : "";
    item.dataset.ms = known ? time.getTime() : 0;
    return item;
  }

  #fold(body, bubble) {
    body.classList.add("folded");
    const button = make("button", "link", { type: "button" }, "Show all");
    button.onclick = () => {
      const folded = body.classList.toggle("folded");
      button.textContent = folded ? "Show all" : "Show less";
    };
    bubble.append(button);
  }

  /** The element that a message of `offset` comes before; null at the end. Notes stay with what is above them. */
  #placeOf(offset) {
    let before = null;
    if (!offset) return before;
    for (let item = this.#list.lastElementChild; item; item = item.previousElementSibling) {
      if (item.dataset.offset === undefined) continue;
      if (Number(item.dataset.segment) !== this.#segment || Number(item.dataset.offset) < offset) break;
      before = item;
    }
    return before;
  }

  /** Whether `item` continues the one above it, and whether a new day begins with it. */
  #group(item) {
    const above = item.previousElementSibling;
    const isMessage = (other) => other?.dataset.user !== undefined;
    if (!isMessage(item)) return;
    const sameDay = isMessage(above) && above.dataset.day === item.dataset.day;
    const close = Math.abs(item.dataset.ms - (above?.dataset.ms ?? 0)) < GROUP_MS;
    item.classList.toggle("grouped", sameDay && close && above.dataset.user === item.dataset.user);
    item.classList.toggle("new-day", item.dataset.day !== "" && this.#dayAbove(above) !== item.dataset.day);
  }

  #dayAbove(item) {
    while (item && !item.dataset.day) item = item.previousElementSibling;
    return item?.dataset.day;
  }

  #trim() {
    if (!this.#stuck || this.#list.childElementCount <= SHOWN_MAX) return;
    while (this.#list.childElementCount > SHOWN_MAX) this.#list.firstElementChild.remove();
    const first = this.#list.querySelector(`[data-segment="${this.#segment}"]`);
    if (first) this.#onTrim(Number(first.dataset.offset));
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#stuck = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
    if (this.#stuck) this.#setUnread(0);
  }

  #setUnread(count) {
    if (count === this.#unread) return;
    this.#unread = count;
    this.#onUnread(count);
  }
}
