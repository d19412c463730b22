// One WebSocket that comes back by itself. Knows nothing of rooms and nothing of the page.
//
//   connect() ─► connecting ──welcome──► open ──close──► waiting ──delay──► connecting …
//   stop(), or a close that must not be repeated ─► stopped

const BACKOFF_FIRST_MS = 500;
const BACKOFF_MAX_MS = 15_000;
const STABLE_MS = 5_000; // a connection that lived so long starts the backoff anew
const WELCOME_MS = 10_000; // from connect() to the server's first message
const PROBE_MS = 5_000; // from our ping to any sign of life
const SHUTDOWN_HINT_MAX_MS = 60_000; // we wait no longer than this, whatever the server asks

// Closes after which coming back by ourselves would only repeat them.
const FINAL = new Map([
  [1008, "The server refused this connection"],
  [4001, "The server does not know you"],
  [4002, "The server does not know you"],
  [4007, "Your access has expired"],
  [4008, "You were disconnected"],
]);

/** Full jitter: anything between nothing and the doubled bound, so that a crowd does not come back at once. */
export function backoff(attempt, random = Math.random()) {
  return Math.round(random * Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** Math.min(attempt, 16)));
}

export class Link {
  #url; #on; #token; #socket = null; #timer = 0; #watch = 0; #attempt = 0;
  #openedAt = 0; #heardAt = 0; #returnAt = 0; #interval = 0;

  /** `on`: state({kind, at?, reason?}), open(welcome), message(object), closed(code). `token`: for a server that asks. */
  constructor(url, on, token = null) {
    this.#url = url;
    this.#on = on;
    this.#token = token;
  }

  get isOpen() {
    return this.#openedAt > 0;
  }

  /** Connects now, whatever the state; an open connection is kept. */
  connect() {
    if (this.#socket) return;
    clearTimeout(this.#timer);
    this.#on.state({ kind: "connecting" });
    const bearer = this.#token ? ["bearer", this.#token] : []; // pages cannot set headers
    const socket = new WebSocket(this.#url, ["roomcast.v1", ...bearer]);
    this.#socket = socket;
    socket.onmessage = (event) => this.#heard(event.data);
    socket.onclose = (event) => this.#lost(event.code, event.reason);
    this.#timer = setTimeout(() => this.#drop(), WELCOME_MS);
  }

  /** Sends an object; false if there is no connection to send it on. */
  send(object) {
    if (!this.isOpen || this.#socket.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(object));
    return true;
  }

  /** Asks the server for a sign of life; none in time means that the connection is gone. */
  probe() {
    const asked = Date.now();
    if (!this.send({ type: "ping" })) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => { if (this.#heardAt < asked) this.#drop(); }, PROBE_MS);
  }

  /** Ends the connection for good. */
  stop() {
    const socket = this.#forget();
    socket?.close(1000);
    this.#on.state({ kind: "stopped" });
  }

  #heard(data) {
    this.#heardAt = Date.now();
    let object;
    try { object = JSON.parse(data); } catch { return; } // binary messages are not for this page
    if (object === null || typeof object !== "object") return;
    switch (object.type) {
      case "welcome": return this.#welcomed(object);
      case "heartbeat": return void this.send({ type: "pong" });
      case "server_shutdown":
        this.#returnAt = Date.now() + Math.min(Number(object.reconnect_after_ms) || 0, SHUTDOWN_HINT_MAX_MS);
        return;
      default: this.#on.message(object);
    }
  }

  #welcomed(welcome) {
    clearTimeout(this.#timer);
    this.#openedAt = Date.now();
    this.#interval = 1_000 * (Number(welcome.heartbeat_interval) || 0); // seconds; 0: the server does not beat
    this.#listen();
    this.#on.state({ kind: "open" });
    this.#on.open(welcome);
  }

  /** Two intervals without any message: ask once, then give the connection up. */
  #listen() {
    clearTimeout(this.#watch);
    if (!this.#interval) return;
    const quiet = Date.now() - this.#heardAt;
    if (quiet > 2 * this.#interval) this.probe();
    this.#watch = setTimeout(() => this.#listen(), this.#interval);
  }

  #drop() {
    this.#socket?.close(); // its close event may take long to come, if the network is gone; don't wait for it
    this.#lost(1006, "");
  }

  #lost(code, reason) {
    const lived = this.#openedAt ? Date.now() - this.#openedAt : 0;
    const returnAt = this.#returnAt;
    this.#forget();
    this.#on.closed(code);
    if (FINAL.has(code)) {
      this.#on.state({ kind: "stopped", reason: reason || FINAL.get(code) });
      return;
    }
    this.#attempt = lived > STABLE_MS ? 0 : this.#attempt;
    const delay = returnAt ? Math.max(0, returnAt - Date.now()) : backoff(this.#attempt);
    this.#attempt += 1;
    this.#on.state({ kind: "waiting", at: Date.now() + delay });
    this.#timer = setTimeout(() => this.connect(), delay);
  }

  #forget() {
    const socket = this.#socket;
    if (socket) socket.onmessage = socket.onclose = null;
    clearTimeout(this.#timer);
    clearTimeout(this.#watch);
    this.#socket = null;
    this.#openedAt = this.#returnAt = 0;
    return socket;
  }
}
