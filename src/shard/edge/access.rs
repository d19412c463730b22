//! Who is let in, what each may do, and for how long: tokens at the door and on the way, grants before each command.
//!
//! Judges nothing itself: tokens, grants, signatures and content are `access`'s, this is where they are asked. A server
//! without `--auth token` and without rules passes all of it with one comparison.

use std::borrow::Cow;
use std::time::Duration;

use crate::access::grant::{Grants, Right};
use crate::access::signature::{self, Seen, Shown};
use crate::access::token::{self, Identity, Refused, TOKEN_BYTES_MAX};
use crate::access::{Policy, origin};
use crate::base::clock::{Mono, Now};
use crate::base::id::Key;
use crate::dialect::native::decode::{self, auth};
use crate::dialect::native::encode;
use crate::hub::command::{Ask, Command, Tag};
use crate::hub::event::{Refusal, Reply};
use crate::hub::name::{Topic, TopicKind};
use crate::hub::operation::Operation;
use crate::metrics::table::LIMITS_HIT;
use crate::shard::arrival::Introduction;
use crate::shard::conn::client::{Client, Guest, More};
use crate::shard::conn::socket::{Role, Socket};
use crate::shard::conn::{Conn, Phase};
use crate::shard::edge::pattern;
use crate::shard::pass::Pass;
use crate::shard::state::Shard;
use crate::wire::http::answer::{Hint, Problem, Status};
use crate::wire::http::head::Head;
use crate::wire::http::target::Target;
use crate::wire::ws::close::CloseCode;
use crate::wire::ws::frame::Opcode;

/// The subprotocol whose next neighbour is a token.
const BEARER: &str = "bearer";
/// Longest message of who has shown no token: a token, and the object around it.
pub(crate) const GUEST_MESSAGE_BYTES_MAX: usize = TOKEN_BYTES_MAX + 1024;
/// Between two tokens of one client: to verify one costs as much as a hundred messages.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(1);
/// What a client that has to show a token is told when it says anything else.
const FIRST: &str = "authenticate first";

/// What a request shows of who it is.
pub(crate) enum Credential {
    /// Nothing.
    None,
    /// A good token's words.
    Good(Box<Identity>),
    /// A token that is not good.
    Bad(Refused),
}

/// Refuses pages of origins that are not on the list, if there is one. Who sends no origin is no page.
pub(crate) fn judge_origin(policy: &Policy, head: &Head<'_>) -> Result<(), Problem> {
    if policy.origins.is_empty() {
        return Ok(());
    }
    let mut origins = head.all("origin");
    let Some(first) = origins.next() else { return Ok(()) };
    if origins.next().is_none() && origin::is_allowed(&policy.origins, first) {
        return Ok(());
    }
    let text = "Pages of this origin may not connect; --allow-origin names those that may.";
    Err(Problem { code: "origin_not_allowed", ..Problem::new(Status::Forbidden, text) })
}

/// The subprotocol to answer with: a known one, or the sign that a token came, as browsers want an answer. Never the
/// token, though it may be spelled like a protocol.
pub(crate) fn subprotocol(policy: &Policy, head: &Head<'_>, known: &[&'static str]) -> Option<&'static str> {
    let name = "sec-websocket-protocol";
    if !policy.tokens {
        return crate::wire::ws::handshake::choose(head.tokens(name), known);
    }
    let mut after_bearer = false;
    let offered = head.tokens(name).filter(|offer| {
        let is_token = after_bearer;
        after_bearer = !is_token && *offer == BEARER.as_bytes();
        !is_token
    });
    let offered: Vec<&[u8]> = offered.collect();
    let chosen = crate::wire::ws::handshake::choose(offered.iter().copied(), known);
    chosen.or(offered.contains(&BEARER.as_bytes()).then_some(BEARER))
}

/// The token of a request, and whether it can be read at all: a header, the subprotocols, the query, the cookie; the
/// first of them that is there counts.
fn token_of<'a>(
    policy: &Policy,
    head: &Head<'a>,
    target: &Target<'a>,
) -> Result<Option<Cow<'a, str>>, Refused> {
    let text = |bytes: &'a [u8]| match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Some(Cow::Borrowed(text))),
        Err(_) => Err(Refused::Malformed),
    };
    if let Some(token) = head.first("authorization").and_then(bearer) {
        return text(token);
    }
    let mut offered = head.tokens("sec-websocket-protocol").skip_while(|offer| *offer != BEARER.as_bytes());
    if let (Some(_), Some(token)) = (offered.next(), offered.next()) {
        return text(token);
    }
    if let Some(token) = target.query_first("token").map_err(|_| Refused::Malformed)? {
        return Ok(Some(token));
    }
    let Some(name) = &policy.cookie else { return Ok(None) };
    let pairs = head.all("cookie").flat_map(|line| line.split(|byte| *byte == b';'));
    let mut values =
        pairs.filter_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    values.next().map_or(Ok(None), |value| text(value.trim_ascii()))
}

/// What follows `Bearer` in an `Authorization`.
pub(crate) fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(BEARER.len())?;
    let token = token.strip_prefix(b" ")?.trim_ascii();
    (scheme.eq_ignore_ascii_case(BEARER.as_bytes()) && !token.is_empty()).then_some(token)
}

impl Shard {
    /// Whether a token has to be shown.
    pub(crate) fn asks_for_tokens(&self) -> bool {
        self.limits.access.tokens
    }

    /// Looks for a token in a request and judges it.
    pub(crate) fn credential(&self, head: &Head<'_>, target: &Target<'_>) -> Credential {
        let judged = match token_of(&self.limits.access, head, target) {
            Ok(None) => return Credential::None,
            Ok(Some(token)) => self.judge_token(&token),
            Err(refused) => Err(refused),
        };
        judged.map_or_else(Credential::Bad, |identity| Credential::Good(Box::new(identity)))
    }

    fn judge_token(&self, token: &str) -> Result<Identity, Refused> {
        token::judge(token, &self.papers.keyring, &self.limits.access.rules, self.now.wall)
    }

    /// What a good token makes of a newcomer, whatever it said itself. `answer`: say `auth_success`, with this mark.
    pub(crate) fn identify(&self, introduction: &mut Introduction, identity: Identity, answer: Option<Tag>) {
        let Identity { user_id, name, expires, grants } = identity;
        // Without the key nothing can be signed, so it is told in any case.
        let answer = answer.or(self.limits.access.signatures.then_some(None));
        let (until, warn) = self.term(expires.0);
        let renewable = self.now.mono;
        (introduction.user_id, introduction.username) = (Some(user_id), name);
        introduction.pass =
            Some(Box::new(Pass { grants, until, warn, renewable, answer, seen: Seen::default() }));
    }

    /// When a token ends that is good until then by the calendar, and when to warn of it: as the clock of deadlines
    /// goes, which nobody can set.
    fn term(&self, expires_ms: u64) -> (Mono, Mono) {
        let Now { mono, wall } = self.now;
        let until = mono + Duration::from_millis(expires_ms.saturating_sub(wall.0));
        (until, (until - self.limits.access.warning).max(mono))
    }

    /// A connection was upgraded that has shown no token: it may show one in a message.
    pub(crate) fn open_guest(&mut self, key: Key, introduction: Introduction) {
        let until = self.now.mono + self.limits.access.timeout;
        let guest = Some(Box::new(Guest { introduction, until }));
        let client = Client { more: Some(Box::new(More { guest, ..More::default() })), ..Client::new(0) };
        let now = self.now.mono;
        self.leave_phase(key);
        if let Some(conn) = self.conns.get_mut(key) {
            conn.phase = Phase::Socket(Socket::new(Role::Client(Box::new(client)), now));
        }
    }

    /// Longest message that is taken from a connection now.
    pub(crate) fn message_bytes_max(&self, key: Key) -> usize {
        let all = self.limits.message_bytes_max;
        if self.asks_for_tokens() && self.is_guest(key) { all.min(GUEST_MESSAGE_BYTES_MAX) } else { all }
    }

    /// Whether this is a connection that has not shown a token.
    pub(crate) fn is_guest(&self, key: Key) -> bool {
        let client = self.conns.get(key).and_then(Conn::any_client);
        client.and_then(|client| client.more.as_ref()).is_some_and(|more| more.guest.is_some())
    }

    /// A message of who has not shown a token: it is one, or the last.
    pub(crate) fn on_guest_message(&mut self, key: Key, opcode: Opcode, payload: &[u8]) {
        let refuse = |shard: &mut Shard, reason| shard.close(key, CloseCode::UNAUTHORIZED, reason);
        let text = (opcode == Opcode::Text).then(|| simdutf8::basic::from_utf8(payload).ok()).flatten();
        let Some(text) = text else { return refuse(self, FIRST) };
        let asked = decode::decode(text);
        let token = match asked.asked {
            Ok(Command::Authenticate { token }) => Some(token),
            _ => auth::bare_token(text),
        };
        let Some(token) = token else { return refuse(self, FIRST) };
        let identity = match self.judge_token(&token) {
            Ok(identity) => identity,
            Err(refused) => return refuse(self, refused.reason()),
        };
        let more = self.conns.get_mut(key).and_then(Conn::client).and_then(|client| client.more.as_mut());
        let Some(guest) = more.and_then(|more| more.guest.take()) else { return };
        let mut introduction = guest.introduction;
        self.identify(&mut introduction, identity, Some(asked.tag.map(Into::into)));
        self.come(key, introduction);
        self.rearm(key);
    }

    /// Tells a client that its token was good, if that is still to be told.
    pub(crate) fn tell_success(&mut self, key: Key) {
        let now = self.now.mono;
        let (keys, signatures) = (self.keys, self.limits.access.signatures);
        let Some(client) = self.conns.get_mut(key).and_then(Conn::client) else { return };
        let (serial, user) = (client.serial, client.user.clone());
        let Some(pass) = client.pass() else { return };
        let (Some(tag), Some(user)) = (pass.answer.take(), user) else { return };
        let expires_in = pass.until.since(now);
        let session_key = signatures.then(|| signature::session_key(keys, serial));
        self.send(key, |out| {
            let session_key = session_key.as_deref();
            let success = encode::auth::Success { user_id: &user.id, expires_in, session_key };
            encode::auth::success(out, tag.as_deref(), &success);
        });
    }

    /// A token ends soon, or has ended.
    pub(crate) fn on_token_due(&mut self, key: Key) {
        let now = self.now.mono;
        let Some(client) = self.conns.get_mut(key).and_then(Conn::client) else { return };
        let welcomed = client.welcomed;
        let Some(pass) = client.pass() else { return };
        if pass.until <= now {
            return self.close(key, CloseCode::TOKEN_EXPIRED, "token expired");
        }
        pass.warn = Mono::NEVER;
        let expires_in = pass.until.since(now);
        // Who waits to be let in hears `welcome` first, and then this.
        if welcomed {
            self.send(key, |out| encode::auth::expiring(out, expires_in));
        }
    }

    /// Tells a client that was just let in what it should have been told meanwhile.
    pub(crate) fn warn_late(&mut self, key: Key) {
        let pass = self.conns.get_mut(key).and_then(Conn::client).and_then(Client::pass);
        if pass.is_some_and(|pass| pass.warn == Mono::NEVER) {
            self.on_token_due(key);
        }
    }

    /// A client that is in shows another token: it goes on as the same user, with what that token grants.
    pub(crate) fn renew(&mut self, key: Key, tag: Tag, shown: &str) -> Result<(), Refusal> {
        if !self.asks_for_tokens() {
            return Err(Refusal::UnknownType("auth".into())); // as in a server that knows no tokens
        }
        let now = self.now.mono;
        let Some(client) = self.conns.get_mut(key).and_then(Conn::client) else { return Ok(()) };
        let user = client.user.clone();
        let Some(pass) = client.pass() else { return Ok(()) };
        if now < pass.renewable {
            let wait = pass.renewable.since(now).as_micros().div_ceil(1000);
            self.tally.count(const { LIMITS_HIT.of("message_rate") });
            return Err(Refusal::RateLimited { retry_after_ms: u64::try_from(wait).unwrap_or(u64::MAX) });
        }
        pass.renewable = now + RENEWAL_INTERVAL;
        let refused = |reason| Refusal::TokenRefused { reason };
        let identity = self.judge_token(shown).map_err(|error| refused(error.reason()))?;
        if user.is_none_or(|user| user.id != identity.user_id) {
            return Err(refused("the token is of another user"));
        }
        let (until, warn) = self.term(identity.expires.0);
        if let Some(pass) = self.conns.get_mut(key).and_then(Conn::client).and_then(Client::pass) {
            let before = std::mem::replace(&mut pass.grants, identity.grants);
            (pass.until, pass.warn, pass.answer) = (until, warn, Some(tag));
            self.tell_success(key);
            self.leave_forbidden(key);
            self.appoint(key, &before);
        }
        self.rearm(key);
        Ok(())
    }

    /// Tells owners which rooms the connection moderates by its token, and which no more. `before`: the last token's
    /// grants.
    pub(crate) fn appoint(&mut self, key: Key, before: &Grants) {
        let Some(conn) = self.conns.get(key) else { return };
        let pass = conn.any_client().and_then(|client| client.more.as_ref()?.pass.as_ref());
        let Some(pass) = pass else { return };
        let rooms = conn.memberships.iter().filter(|membership| membership.kind == TopicKind::Room);
        let rooms = rooms.map(|membership| &self.members.topic(membership.topic).topic);
        let changed = rooms.filter_map(|room| {
            let moderates = pass.grants.moderates(room.name());
            (moderates != before.moderates(room.name())).then(|| (room.clone(), moderates))
        });
        let changed: Vec<(Topic, bool)> = changed.collect();
        for (room, moderates) in changed {
            self.ask(key, room, None, Ask::Appoint(moderates));
        }
    }

    /// Topics that the connection is in, or asked to be in, and may not be by these grants.
    fn forbidden(&self, key: Key, grants: &Grants) -> Vec<Topic> {
        let memberships = self.conns.get(key).into_iter().flat_map(|conn| conn.memberships.iter());
        let topics = memberships.map(|membership| &self.members.topic(membership.topic).topic);
        topics.filter(|topic| !grants.may_enter(topic.kind(), topic.name())).cloned().collect()
    }

    /// Whether a connection may be in a topic, as far as that is a matter of tokens.
    pub(crate) fn may_be_in(&self, key: Key, topic: &Topic) -> bool {
        if !self.asks_for_tokens() {
            return true;
        }
        let more = self.conns.get(key).and_then(Conn::any_client).and_then(|client| client.more.as_ref());
        let pass = more.and_then(|more| more.pass.as_ref());
        pass.is_some_and(|pass| pass.grants.may_enter(topic.kind(), topic.name()))
    }

    /// Ends the memberships that a new token does not grant. The client is told as if it had left; what is published
    /// until the owner has seen to that is not for it any more.
    fn leave_forbidden(&mut self, key: Key) {
        let pass = self.conns.get(key).and_then(Conn::any_client).and_then(|client| client.more.as_ref());
        let Some(pass) = pass.and_then(|more| more.pass.as_ref()) else { return };
        for topic in self.forbidden(key, &pass.grants) {
            if topic.kind() != TopicKind::Pattern {
                self.cut_off(key, &topic);
                self.ask(key, topic, None, Ask::Leave);
                continue;
            }
            // All owners hold it, and while one of them is asked nothing else is handled: so there is no answer to
            // wait for, and none is needed.
            self.settle_leave(key, &topic);
            self.ask_all(key, &topic, &None, || Ask::Gone);
            let wall = self.now.wall;
            self.send(key, |out| encode::reply(out, &topic, None, &Reply::Left, wall));
        }
    }

    /// Whether a newcomer with this pass may go on in the place of the client at `key`.
    pub(crate) fn may_take_over(&self, key: Key, pass: Option<&Pass>) -> bool {
        match pass {
            Some(pass) => self.forbidden(key, &pass.grants).is_empty(),
            None => !self.asks_for_tokens(),
        }
    }

    /// Whether anything has to be looked at before a command.
    pub(crate) fn is_guarded(&self) -> bool {
        self.limits.access.tokens || self.papers.content.is_some()
    }

    /// Judges a message whose command is known: rights, signature, content, in the order of what they cost.
    pub(crate) fn judge_command(
        &mut self,
        key: Key,
        text: &str,
        command: &Command<'_>,
    ) -> Result<(), Refusal> {
        self.judge_rights(key, text.len(), command)?;
        let content = content(command);
        if content.is_some() && self.limits.access.signatures && !self.is_signed(key, text) {
            return Err(Refusal::BadSignature);
        }
        let found = match (&self.papers.content, content) {
            (None, _) | (_, None) => false,
            (Some(rules), Some(Words::Json(bytes))) => {
                simdutf8::basic::from_utf8(bytes).is_ok_and(|json| rules.is_in_json(json))
            }
            (Some(rules), Some(Words::Text(text))) => rules.is_in(text),
        };
        if found { Err(Refusal::ContentRejected) } else { Ok(()) }
    }

    fn judge_rights(&mut self, key: Key, bytes: usize, command: &Command<'_>) -> Result<(), Refusal> {
        let asks = self.asks_for_tokens();
        let Some(client) = self.conns.get_mut(key).and_then(Conn::client) else { return Ok(()) };
        let Some(Pass { grants, .. }) = client.pass() else {
            // Without a pass nothing is granted where one is needed.
            return if asks { Err(Refusal::Forbidden) } else { Ok(()) };
        };
        if let Some(max) = grants.allowance.message_bytes_max.filter(|max| bytes > *max) {
            return Err(Refusal::MessageTooLarge { max });
        }
        if may(grants, command) { Ok(()) } else { Err(Refusal::Forbidden) }
    }

    /// The same for a binary message, which has no place for a signature.
    pub(crate) fn judge_binary(&mut self, key: Key, bytes: usize, room: &str) -> Result<(), Refusal> {
        if self.limits.access.signatures {
            return Err(Refusal::BadSignature);
        }
        let (kind, name) = (TopicKind::Room, room.into());
        self.judge_rights(key, bytes, &Command::Publish { kind, name, payload: b"", echo: false })
    }

    /// Whether a client moderates a room by its token.
    pub(crate) fn moderates(&mut self, key: Key, room: &str) -> bool {
        if !self.asks_for_tokens() {
            return false;
        }
        let pass = self.conns.get_mut(key).and_then(Conn::client).and_then(Client::pass);
        pass.is_some_and(|pass| pass.grants.moderates(room))
    }

    fn is_signed(&mut self, key: Key, text: &str) -> bool {
        let (keys, wall) = (self.keys, self.now.wall);
        let Some(user) = self.user_of(key) else { return false };
        let Some(client) = self.conns.get_mut(key).and_then(Conn::client) else { return false };
        let serial = client.serial;
        let (Some(pass), Some(signed)) = (client.pass(), auth::signed(text)) else { return false };
        let shown = Shown { timestamp: &signed.timestamp, signature: &signed.signature };
        pass.seen.judge(&signature::session_key(keys, serial), &user.id, &signed.message, shown, wall)
    }
}

/// What a message brings to others.
enum Words<'a> {
    Json(&'a [u8]),
    Text(&'a str),
}

fn content<'a>(command: &'a Command<'_>) -> Option<Words<'a>> {
    match command {
        Command::Publish { payload, .. }
        | Command::Broadcast { payload }
        | Command::Direct { payload, .. } => Some(Words::Json(payload)),
        Command::Edit { operation: Operation::Insert { text, .. }, .. } => Some(Words::Text(text)),
        Command::Edit { .. } => Some(Words::Text("")),
        _ => None,
    }
}

/// Whether these grants cover a command. What ends something, or concerns the client alone, needs none.
fn may(grants: &Grants, command: &Command<'_>) -> bool {
    let enters = |kind, name: &str| grants.may_enter(kind, name);
    match command {
        Command::Join { kind, name, .. } => enters(pattern::meant(*kind, name), name),
        Command::Publish { kind: TopicKind::Channel, name, .. } => {
            enters(TopicKind::Channel, name) && grants.may(Right::Publish)
        }
        Command::Publish { kind, name, .. } => enters(*kind, name) && grants.may_write(),
        Command::Open { document, .. } => enters(TopicKind::Document, document),
        Command::Edit { document, .. } | Command::Point { document, .. } => {
            enters(TopicKind::Document, document) && grants.may_write()
        }
        Command::Typing { room, .. } => enters(TopicKind::Room, room) && grants.may_write(),
        Command::History { kind, name, .. } => enters(*kind, name),
        Command::Users { room } => enters(TopicKind::Room, room) && grants.may(Right::Presence),
        Command::Moderate { room, .. } => enters(TopicKind::Room, room),
        Command::Broadcast { .. } => grants.may(Right::Broadcast),
        Command::Direct { .. } => grants.may(Right::Direct),
        Command::Stats => grants.may(Right::Stats),
        Command::Leave { .. }
        | Command::Acknowledge { .. }
        | Command::Authenticate { .. }
        | Command::Ping { .. }
        | Command::Pong => true,
    }
}

/// The answer to a request that has to show a token and cannot do so in a message.
pub(crate) fn unauthorized(text: &'static str) -> Problem {
    Problem::new(Status::Unauthorized, text).with(Hint::Bearer)
}
