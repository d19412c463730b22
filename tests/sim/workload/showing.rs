//! Who clients say to be: tokens that are good, bad, about to end or of somebody else, and the keys behind them.
//!
//! A quarter of the worlds asks for tokens. They are signed by HS256 and end by the simulated clock, so a seed replays
//! the same ones.

use std::sync::Arc;
use std::time::Duration;

use roomcast::access::token::mint;
use roomcast::access::{Papers, Policy};
use serde_json::json;

use super::{Client, Kind, ROOMS, Sim, USERS};
use crate::model::Asked;
use crate::model::passes::{Grants, Pass, Token, Worth};
use crate::net::{self, Dice};
use crate::world::WALL;

/// Key of tokens that nobody takes.
const FORGED: u64 = u64::MAX - 1;
/// What can be granted of channels, and of documents.
const CHANNELS: [&str; 3] = ["x.*", "z", "*"];
const DOCUMENTS: [&str; 2] = ["plan", "list"];
const CAN: [&str; 5] = ["publish", "broadcast", "stats", "direct", "presence"];

/// The keys that tokens are signed with: the last one is good, and maybe the one before.
#[derive(Default)]
pub(super) struct Keys {
    last: u64,
    both: bool,
}

impl Keys {
    fn good(&self, key: u64) -> bool {
        key == self.last || self.both && key + 1 == self.last
    }
}

fn secret(key: u64) -> Vec<u8> {
    format!("a secret of the simulation, number {key:020}").into_bytes()
}

/// Whether tokens are asked for, by dice of its own: no other world changes.
pub(super) fn policy(seed: u64) -> Policy {
    let mut dice = Dice::new(!seed);
    let millis = Duration::from_millis;
    Policy {
        tokens: dice.once_in(4),
        timeout: millis(*dice.pick(&[500, 5000])),
        warning: millis(*dice.pick(&[100, 1000, 30_000])),
        ..Policy::default()
    }
}

/// How a request shows a token.
#[derive(Default)]
pub(super) struct Shown {
    query: String,
    header: String,
}

impl Shown {
    pub(super) fn request(&self, path: &str) -> Vec<u8> {
        let joint = match path.contains('?') {
            _ if self.query.is_empty() || path.ends_with(['?', '&']) => "",
            true => "&",
            false => "?",
        };
        net::request_with(&[path, joint, &self.query].concat(), &self.header)
    }
}

impl Sim {
    /// Keys are exchanged while connections stand.
    pub(super) fn exchange_keys(&mut self) {
        self.keys = Keys { last: self.keys.last + 1, both: self.dice.once_in(2) };
        let mut papers = Papers::default();
        let all = [Some(self.keys.last), self.keys.both.then(|| self.keys.last - 1)];
        for key in all.into_iter().flatten() {
            papers.keyring.add_secret(&secret(key)).expect("a secret");
        }
        self.world.give_papers(&Arc::new(papers));
        for pass in self.clients.iter_mut().filter_map(|client| client.viewer.pass.as_mut()) {
            pass.keys_changed(|key| self.keys.good(key));
        }
    }

    fn grants(&mut self) -> Grants {
        let dice = &mut self.dice;
        let mut some = |all: &[&'static str]| {
            let among: Vec<&'static str> = all.iter().copied().filter(|_| !dice.once_in(3)).collect();
            (!dice.once_in(3)).then_some(among)
        };
        let (rooms, channels, documents) = (some(&ROOMS), some(&CHANNELS), some(&DOCUMENTS));
        let can = if self.dice.once_in(2) { Some(CAN.to_vec()) } else { None };
        let can = can.map(|all| all.into_iter().filter(|_| !self.dice.once_in(4)).collect());
        Grants { rooms, channels, documents, can }
    }

    /// A token as it is shown, and what is known of it. `sound`: it is good, and for long.
    fn token(&mut self, user: &str, grants: Grants, sound: bool) -> (String, Token) {
        let now_ms = self.world.now_us / 1000;
        let life = *self.dice.pick(&[5, 1500, 20_000, 600_000, 600_000, 600_000]);
        let bad = !sound && self.dice.once_in(8);
        let mut token = Token {
            grants,
            user: user.to_owned(),
            ends_ms: now_ms + if sound { 600_000 } else { life },
            shown_ms: now_ms,
            worth: if bad { Worth::Bad } else { Worth::Good },
            key: self.keys.last,
        };
        let fault = if bad { self.dice.below(6) } else { usize::MAX };
        match fault {
            0 => token.ends_ms = now_ms - now_ms.min(self.dice.bits() % 5000),
            1 => token.key = FORGED,
            2 => {
                let old = self.keys.last.saturating_sub(2);
                token.key = if self.keys.good(old) { FORGED } else { old };
            }
            _ => {}
        }
        let ends = WALL + token.ends_ms;
        let mut claims = json!({"sub": user, "exp": format!("{}.{:03}", ends / 1000, ends % 1000)});
        // As a number with a fraction, to the millisecond.
        claims["exp"] = serde_json::from_str(claims["exp"].as_str().expect("made here")).expect("a number");
        token.grants.claim(&mut claims);
        if fault == 3 {
            claims["exp"] = json!(null);
        }
        let signed = mint(&claims.to_string(), &secret(token.key)).expect("minted");
        let text = match fault {
            // Not what was signed, and what nobody has signed.
            4 => {
                claims["sub"] = json!("root");
                let other = mint(&claims.to_string(), &secret(FORGED)).expect("minted");
                let (message, _) = other.rsplit_once('.').expect("three parts");
                let (_, signature) = signed.rsplit_once('.').expect("three parts");
                format!("{message}.{signature}")
            }
            5 => {
                let payload = signed.split('.').nth(1).expect("three parts");
                // {"alg":"none"}
                format!("eyJhbGciOiJub25lIn0.{payload}.{}", if self.dice.once_in(2) { "" } else { "AA" })
            }
            _ => signed,
        };
        (text, token)
    }

    /// A new client shows a token in its request, or will show one in a message.
    pub(super) fn arrive(&mut self, client: &mut Client) -> Shown {
        if !matches!(client.kind, Kind::Native | Kind::Echo) {
            return Shown::default();
        }
        let user = client.named.map_or_else(|| format!("user {}", self.clients.len()), str::to_owned);
        let warning_ms = u64::try_from(self.limits.access.warning.as_millis()).expect("short");
        let now_ms = self.world.now_us / 1000;
        let mut pass = Box::new(Pass::new(user, warning_ms, now_ms));
        pass.guest = client.kind == Kind::Native && self.dice.once_in(4);
        if pass.guest {
            client.viewer.pass = Some(pass);
            return Shown::default();
        }
        let grants = self.grants();
        let (text, token) = self.token(&pass.user, grants, false);
        pass.door = Some(token);
        client.viewer.pass = Some(pass);
        self.show(&text)
    }

    /// A client comes back to its session, mostly with the rights that it had.
    pub(super) fn arrive_again(&mut self, i: usize, must: &mut bool) -> Shown {
        let pass = self.clients[i].viewer.pass.as_mut().expect("the caller looked");
        pass.now_ms = self.world.now_us / 1000;
        let (user, before) = (pass.user.clone(), pass.lasting().cloned());
        *must &= before.is_some();
        let grants = match before.filter(|_| !self.dice.once_in(4)) {
            Some(before) => before,
            None => {
                *must = false;
                self.grants()
            }
        };
        // In the end all have to come back.
        let sound = self.dice.once_in(2);
        let (text, token) = self.token(&user, grants, sound);
        let pass = self.clients[i].viewer.pass.as_mut().expect("as above");
        pass.guest = false;
        pass.returns(token);
        *must &= pass.is_sound();
        self.show(&text)
    }

    fn show(&mut self, text: &str) -> Shown {
        match self.dice.below(4) {
            0 => Shown { header: format!("Authorization: Bearer {text}\r\n"), query: String::new() },
            1 => {
                Shown { header: format!("Sec-WebSocket-Protocol: bearer, {text}\r\n"), query: String::new() }
            }
            _ => Shown { query: format!("token={text}"), header: String::new() },
        }
    }

    /// Who has shown no token shows one, or says something else, or nothing.
    pub(super) fn act_as_guest(&mut self, i: usize) {
        if !self.clients[i].talks() || self.dice.once_in(3) {
            return;
        }
        let user = self.clients[i].viewer.pass.as_ref().expect("a guest").user.clone();
        let grants = self.grants();
        let (text, token) = self.token(&user, grants, false);
        let client = &mut self.clients[i];
        let pass = client.viewer.pass.as_mut().expect("a guest");
        pass.rude = self.dice.once_in(10);
        pass.door = Some(token);
        let message = match self.dice.below(2) {
            _ if pass.rude => json!({"type": "ping"}),
            0 => json!({"token": text}),
            _ => json!({"type": "auth", "token": text}),
        };
        let frame = net::message(message.to_string().as_bytes(), &mut self.dice);
        self.send(i, &frame);
    }

    /// Whether a client shows another token now: now and then, and mostly when it is told that its own ends.
    pub(super) fn renews(&mut self, i: usize) -> bool {
        let Some(pass) = &self.clients[i].viewer.pass else { return false };
        self.clients[i].viewer.welcomed.is_some() && self.dice.once_in(if pass.warned { 3 } else { 40 })
    }

    pub(super) fn renew(&mut self, i: usize) {
        let client = &self.clients[i];
        if self.world.links[client.link].is_ending() {
            return;
        }
        let pass = client.viewer.pass.as_ref().expect("the caller looked");
        let (own, id) = (pass.user.clone(), client.next_id);
        let user = if self.dice.once_in(10) { (*self.dice.pick(&USERS)).to_owned() } else { own };
        let same = self.dice.once_in(2).then(|| pass.grants().clone());
        let grants = same.unwrap_or_else(|| self.grants());
        let (text, token) = self.token(&user, grants, false);
        let pass = self.clients[i].viewer.pass.as_mut().expect("as above");
        pass.renewals.insert(id, token);
        self.ask(i, "", Asked::Auth, json!({"type": "auth", "token": text}));
    }

    /// Notes a message that no token of its sender grants.
    pub(super) fn bar(&mut self, i: usize, n: usize, asked: &Asked) {
        if self.clients[i].viewer.may("", asked) == Some(false) {
            self.truth.barred.insert(n);
        }
    }
}
