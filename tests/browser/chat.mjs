// People chat through the page at `/`, in Chromium, while their connections and the server die under them.
// Every wait is for a condition; what a check leaves behind, the next one builds on.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { layCable, startServer } from "./server.mjs";

const { KIT, SHOTS, SERVER, CHROMIUM } = process.env;
const { chromium } = createRequire(`${KIT}/`)("playwright-core");

const WAIT_MS = 15_000;
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
const DESKTOP = { width: 1100, height: 720 };
const PHONE = { width: 390, height: 780 };

const complaints = []; // what pages wrote to their consoles that they should not have
const tally = { passed: 0, failed: 0 };

async function check(title, body) {
  try {
    await body();
    tally.passed += 1;
    console.log(`ok   ${title}`);
  } catch (error) {
    tally.failed += 1;
    console.log(`FAIL ${title}\n     ${String(error.stack ?? error).split("\n").join("\n     ")}`);
    for (const [name, person] of people) await person.shot(`failed-${tally.failed}-${name}`).catch(() => {});
  }
}

// ---- people ---------------------------------------------------------------------------------------------

const people = new Map();

/** A person with a browser profile of their own, at the door of `base`. */
async function person(browser, nick, base, query = "", options = {}) {
  const context = await browser.newContext({ viewport: DESKTOP, locale: "en-GB", ...options });
  context.setDefaultTimeout(WAIT_MS);
  const page = await context.newPage();
  page.on("pageerror", (error) => complaints.push(`${nick}: ${error}`));
  page.on("console", (line) => {
    // A refused connection is what the checks cause; Chromium reports it whatever the page does.
    if (line.type() === "error" && !/net::ERR_|WebSocket connection to/.test(line.text())) complaints.push(`${nick}: ${line.text()}`);
  });
  await page.goto(base + query);
  const self = {
    nick, page, context,
    async join(name, room) {
      await page.getByLabel("Your name").fill(name);
      await page.getByLabel("Room").fill(room);
      await page.getByRole("button", { name: "Join the room" }).click();
    },
    state: (kind) => page.waitForSelector(`#state[data-kind="${kind}"]`),
    /** In the room: the server has answered the join. */
    present: (count) => page.waitForFunction((n) => document.querySelector("#people-count").textContent === String(n), count),
    sees: (text) => page.waitForFunction((wanted) => [...document.querySelectorAll("#list .text")].some((p) => p.textContent === wanted), text),
    async says(text) {
      await page.getByLabel("Message", { exact: true }).fill(text);
      await page.keyboard.press("Enter");
    },
    texts: () => page.$$eval("#list .text", (all) => all.map((p) => p.textContent)),
    names: () => page.$$eval("#people-list .person", (all) => all.map((p) => p.textContent)),
    notes: (kind) => page.$$eval(`#list .note${kind}`, (all) => all.map((p) => p.textContent)),
    settled: () => page.waitForFunction(() => document.querySelectorAll("#unsent li").length === 0),
    shot: (name) => page.screenshot({ path: `${SHOTS}/${name}.png` }),
    async leave() {
      people.delete(nick);
      await context.close();
    },
  };
  people.set(nick, self);
  return self;
}

/** Each of `texts` stands in each person's list, once, in this order. */
async function allHave(everyone, texts) {
  for (const one of everyone) {
    for (const text of texts) await one.sees(text);
    const had = (await one.texts()).filter((text) => texts.includes(text));
    assert.deepEqual(had, texts, `${one.nick} has each message once and in order`);
  }
}

// ---- the story ------------------------------------------------------------------------------------------

let server = await startServer(SERVER);
const cable = await layCable(server.port);
const browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
let ada, bea, cem;

await check("the door looks right, asks for what is missing and takes the keyboard", async () => {
  bea = await person(browser, "bea", server.url);
  await bea.shot("door-light");
  await bea.page.keyboard.press("Enter");
  await bea.page.getByRole("alert").waitFor();
  assert.equal(await bea.page.evaluate(() => document.activeElement.id), "name");
  await bea.page.emulateMedia({ colorScheme: "dark" });
  await bea.shot("door-dark");
  await bea.page.emulateMedia({ colorScheme: "light" });
});

await check("two join, one by the address, and see each other", async () => {
  ada = await person(browser, "ada", cable.url, "?room=lobby&name=Ada");
  await ada.state("open");
  await ada.present(1);
  await bea.join("Bea", "lobby");
  for (const one of [ada, bea]) await one.present(2);
  assert.deepEqual(await ada.names(), ["Ada", "Bea"]);
  assert.deepEqual(await bea.names(), ["Bea", "Ada"]);
  assert.equal(new URL(ada.page.url()).search, "?room=lobby", "the address can be given away: no name in it");
});

await check("messages go both ways, once, with author and time", async () => {
  await ada.says("Hello Bea, does this reach you?");
  await bea.sees("Hello Bea, does this reach you?");
  await bea.says("It does. Hello Ada!");
  await allHave([ada, bea], ["Hello Bea, does this reach you?", "It does. Hello Ada!"]);
  const message = bea.page.locator("#list .msg:not(.own)").first();
  assert.equal(await message.locator(".author").textContent(), "Ada");
  const stamp = Date.parse(await message.locator("time").getAttribute("datetime"));
  assert.ok(Math.abs(Date.now() - stamp) < 60_000, "the time is now");
  await ada.settled();
});

await check("typing is shown, and gone when the message comes", async () => {
  await bea.page.getByLabel("Message", { exact: true }).pressSequentially("I am writ");
  await ada.page.getByText("Bea is typing…").waitFor();
  await bea.says("I am writing.");
  await ada.sees("I am writing.");
  await ada.page.waitForFunction(() => document.querySelector("#typing").textContent === "");
});

const ODD = [
  `<img src=x onerror="document.title='pwned'"><script>alert(1)</script>`,
  "two\nlines, a\ttab and   spaces",
  "日本語 · עברית · 👩‍👩‍👧‍👦 · e\u0301 · \u202Eesrever · \u2028 · Z͑ͫ̓ͪ̂ͫ",
  `{"type":"error","message":"not a command"}`,
  "w".repeat(600),
  Array.from({ length: 60 }, (_, n) => `line ${n + 1} of a long text`).join("\n"),
];

await check("odd texts arrive as written and stay text", async () => {
  for (const text of ODD) await ada.says(text);
  await allHave([ada, bea], ODD);
  assert.equal(await bea.page.locator("#list img, #list script").count(), 0);
  const wide = await bea.page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  assert.ok(!wide, "nothing widens the page");
  await bea.page.getByRole("button", { name: "Show all" }).first().waitFor();
});

await check("a third gets the history and the members", async () => {
  cem = await person(browser, "cem", server.url, "?room=lobby&name=Cem", { viewport: PHONE, isMobile: true, hasTouch: true });
  await allHave([cem], ["Hello Bea, does this reach you?", "It does. Hello Ada!", "I am writing.", ...ODD]);
  for (const one of [ada, bea, cem]) await one.present(3);
  for (const text of ["Hi, I am late.", "Did I miss much?"]) await cem.says(text);
  await bea.says("Only a few odd characters.");
  await ada.says("And a very long text, sorry.");
  await allHave([ada, bea, cem], ["Hi, I am late.", "Did I miss much?", "Only a few odd characters.", "And a very long text, sorry."]);
});

await check("it looks right: light, dark, phone, people", async () => {
  await bea.page.getByLabel("Message", { exact: true }).pressSequentially("M");
  await ada.page.getByText("Bea is typing…").waitFor();
  await ada.shot("room-light");
  await ada.page.emulateMedia({ colorScheme: "dark" });
  await ada.shot("room-dark");
  await ada.page.emulateMedia({ colorScheme: "light" });
  await cem.shot("phone-light");
  await cem.page.locator("#people-toggle").click();
  await cem.page.getByTitle("Bea").waitFor();
  await cem.page.emulateMedia({ colorScheme: "dark" });
  await cem.shot("phone-people-dark");
  await cem.page.keyboard.press("Escape");
  await cem.shot("phone-dark");
  await cem.page.emulateMedia({ colorScheme: "light" });
  await bea.page.getByLabel("Message", { exact: true }).fill("");
});

await check("a reset connection comes back and recovers what was missed", async () => {
  cable.cut();
  await ada.state("waiting");
  await bea.present(2);
  await bea.says("Ada is cut off.");
  await bea.says("Let us talk about her.");
  await cem.sees("Let us talk about her.");
  await ada.says("Can you hear me?");
  await ada.page.locator("#unsent .pending").waitFor();
  await ada.page.setViewportSize(PHONE);
  await ada.shot("phone-waiting");
  await ada.page.setViewportSize(DESKTOP);
  await ada.shot("room-waiting");
  cable.heal();
  await allHave([ada, bea, cem], ["Ada is cut off.", "Let us talk about her.", "Can you hear me?"]);
  await ada.settled();
  for (const one of [ada, bea, cem]) await one.present(3);
  assert.deepEqual(await ada.notes(".gap"), [], "nothing was missed, and the page does not say so");
});

await check("a connection that goes silent is noticed, and comes back", async () => {
  cable.mute();
  await ada.context.setOffline(true);
  await ada.state("waiting");
  await bea.says("Now Ada hears nothing.");
  cable.heal();
  await ada.context.setOffline(false);
  await ada.state("open");
  await allHave([ada, bea, cem], ["Can you hear me?", "Now Ada hears nothing."]);
  await ada.says("I heard it.");
  await allHave([ada, bea, cem], ["Now Ada hears nothing.", "I heard it."]);
});

await check("a killed server: all come back, unsent messages arrive, nothing is doubled", async () => {
  await server.kill();
  for (const one of [ada, bea, cem]) await one.page.waitForSelector("#state:not([data-kind=open])");
  await bea.says("Is the server gone?");
  await bea.page.locator("#unsent .pending").waitFor();
  server = await startServer(SERVER, server.port);
  for (const one of [ada, bea, cem]) await one.state("open");
  for (const one of [ada, bea, cem]) await one.present(3);
  await bea.settled();
  await ada.says("It is back.");
  await bea.says("And so are we.");
  await cem.says("All of us.");
  // Who came back later than the unsent message finds it in the history.
  const before = ["Now Ada hears nothing.", "I heard it.", "Is the server gone?"];
  for (const one of [ada, bea, cem]) {
    for (const text of ["Is the server gone?", "It is back.", "And so are we.", "All of us."]) await one.sees(text);
    const texts = await one.texts();
    assert.equal(new Set(texts).size, texts.length, `${one.nick} has nothing twice`);
    assert.deepEqual(texts.filter((text) => before.includes(text)), before);
    assert.equal((await one.notes(".gap")).length, 1, "the break in the numbering is marked once");
  }
  const [a, b] = await Promise.all([ada.texts(), bea.texts()]);
  assert.deepEqual(a.slice(-4), b.slice(-4), "everybody has the same order");
  await ada.shot("room-restarted");
});

await check("a stopped server, started again: all come back", async () => {
  assert.equal(await server.stop(), 0, "exit status");
  for (const one of [ada, bea, cem]) await one.page.waitForSelector("#state:not([data-kind=open])");
  server = await startServer(SERVER, server.port);
  for (const one of [ada, bea, cem]) await one.page.getByRole("button", { name: "Try now" }).click({ timeout: 1_000 }).catch(() => {});
  for (const one of [ada, bea, cem]) await one.present(3);
  await cem.says("Twice today.");
  await allHave([ada, bea, cem], ["All of us.", "Twice today."]);
});

await check("a reload stays who it was; leaving and closing are seen", async () => {
  await bea.says("I will be right back.");
  await cem.sees("I will be right back.");
  await bea.page.reload();
  await bea.present(3);
  await bea.page.locator("#list .own .text", { hasText: "I will be right back." }).waitFor();
  assert.deepEqual((await bea.names()).toSorted(), ["Ada", "Bea", "Cem"]);
  await bea.says("Reloaded.");
  await allHave([ada, bea, cem], ["Twice today.", "I will be right back.", "Reloaded."]);
  await cem.leave();
  await ada.present(2);
  await bea.page.getByRole("button", { name: "Leave" }).click();
  await ada.present(1);
  assert.deepEqual(await ada.names(), ["Ada"]);
  assert.equal(await bea.page.getByLabel("Your name").inputValue(), "Bea", "the door remembers the name");
});

await check("names that are properties of every object are names like others", async () => {
  const odd = await person(browser, "odd", server.url, "?room=__proto__&name=__proto__");
  await bea.join("constructor", "__proto__");
  for (const one of [odd, bea]) await one.present(2);
  await bea.says("toString");
  await odd.sees("toString");
  await odd.says("hasOwnProperty");
  await allHave([odd, bea], ["toString", "hasOwnProperty"]);
  assert.deepEqual((await odd.names()).toSorted(), ["__proto__", "constructor"]);
  await odd.leave();
});

await check("two tabs of one browser are two people; many messages fill more than one page of history", async () => {
  const tab = await ada.context.newPage();
  await tab.goto(`${cable.url}?room=many&name=Writer`);
  await tab.waitForSelector('#state[data-kind="open"]');
  const reader = await person(browser, "reader", server.url, "?room=many&name=Reader");
  await reader.present(2);
  const texts = Array.from({ length: 90 }, (_, n) => `message ${n + 1}`);
  for (const text of texts) {
    await tab.getByLabel("Message", { exact: true }).fill(text);
    await tab.keyboard.press("Enter");
  }
  await allHave([reader], texts);
  await reader.page.reload();
  await reader.sees("message 90");
  assert.equal((await reader.texts()).length, 50, "the newest page of history first");
  await reader.page.getByRole("button", { name: "Show older messages" }).click();
  await allHave([reader], texts);
  await reader.page.getByRole("button", { name: "Show older messages" }).waitFor({ state: "hidden" });
  await reader.leave();
});

await check("no page complained, nothing broke the policy", async () => {
  assert.deepEqual(complaints, []);
});

await browser.close();
cable.close();
await server.kill();
console.log(`${tally.passed} passed, ${tally.failed} failed`);
process.exit(tally.failed ? 1 : 0);
