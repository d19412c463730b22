// A server process under test, and a cable to it that can be cut.

import { spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import readline from "node:readline";

const START_MS = 10_000;

/** Starts the server; resolves when it has said where its chat page is. */
export async function startServer(binary, port = 0) {
  const child = spawn(binary, ["--listen", `127.0.0.1:${port}`], { stdio: ["ignore", "pipe", "inherit"] });
  const exit = once(child, "exit");
  const lines = readline.createInterface({ input: child.stdout });
  const url = await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("the server did not say where its chat page is")), START_MS);
    exit.then(([code]) => reject(new Error(`the server ended with ${code}`)));
    lines.on("line", (line) => {
      const found = /^chat page: (\S+)$/.exec(line.trim());
      if (!found) return;
      clearTimeout(timer);
      resolve(found[1]);
    });
  });
  const end = async (signal) => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    const [code] = await exit;
    return code;
  };
  return { url, port: Number(new URL(url).port), kill: () => end("SIGKILL"), stop: () => end("SIGTERM") };
}

/** A TCP relay in front of `port`: `cut()` resets all it carries, `mute()` swallows all bytes, `heal()` ends both. */
export async function layCable(port) {
  const pairs = new Set();
  let isCut = false;
  let isMute = false;
  const relay = net.createServer((near) => {
    if (isCut) return near.resetAndDestroy();
    const far = net.connect(port, "127.0.0.1");
    const pair = [near, far];
    pairs.add(pair);
    const carry = (from, to) => {
      from.on("data", (bytes) => { if (!isMute) to.write(bytes); });
      from.on("error", () => {});
      from.on("close", () => { to.destroy(); pairs.delete(pair); });
    };
    carry(near, far);
    carry(far, near);
  });
  relay.listen(0, "127.0.0.1");
  await once(relay, "listening");
  const reset = () => { for (const [near, far] of pairs) { near.resetAndDestroy(); far.resetAndDestroy(); } };
  return {
    url: `http://127.0.0.1:${relay.address().port}/`,
    cut() { isCut = true; reset(); },
    mute() { isMute = true; },
    heal() { isCut = isMute = false; },
    close() { reset(); relay.close(); },
  };
}
