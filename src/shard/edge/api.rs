//! Requests for the API: judged, their bodies collected, owners and shards asked, answers given in order.
//!
//! While one is asked about, no further input of its connection is handled: so there is one answer at a time, and who
//! asks faster than we answer is slowed down by TCP. A connection that dies meanwhile is found by nobody's answer.
//! Decides nothing: who may ask is `dialect::api::guard`'s word, what becomes of it the owners'.

use std::sync::Arc;

use crate::access::api_key::{ApiKeys, Scope, Scopes};
use crate::base::id::{Key, ShardId};
use crate::base::peer::Peer;
use crate::base::shared::Shared;
use crate::dialect::api::decode::{self, Item, Post};
use crate::dialect::api::encode::{self, Connection, Node};
use crate::dialect::api::guard;
use crate::dialect::api::route::{self, Call, Cursor};
use crate::dialect::field;
use crate::hub::command::{Ask, Order};
use crate::hub::event::{Refusal, Told};
use crate::hub::name::{self, Topic, TopicKind, USER_ID_BYTES_MAX, User};
use crate::metrics::shard::total;
use crate::shard::conn::request::{Asking, Batch, Pending, Terms};
use crate::shard::conn::socket::LINGER;
use crate::shard::conn::{Conn, Hold, Phase};
use crate::shard::edge::access;
use crate::shard::edge::pattern;
use crate::shard::port::{ClientSeen, Part, Question};
use crate::shard::state::Shard;
use crate::wire::http::answer::{self, After, Problem, Status};
use crate::wire::http::body::BodyReader;
use crate::wire::http::head::{Body, Head};
use crate::wire::http::target::Target;

/// What a body may hold beside the message itself, in bytes: names of fields and users.
const ENVELOPE_BYTES_MAX: usize = 4096;

impl Shard {
    /// Handles the head of a request for the API, which `rest` follows; returns how much of that is the body.
    pub(crate) fn on_api(&mut self, key: Key, head: &Head<'_>, target: &Target<'_>, rest: &[u8]) -> usize {
        let Some(conn) = self.conns.get(key) else { return 0 };
        let mut pending = match judge_caller(self.papers.api_keys.as_ref(), conn.peer, head, target) {
            Ok(scopes) => match open(head, target, self.limits.message_bytes_max)
                .and_then(|pending| within(scopes, pending))
            {
                Ok(pending) => pending,
                Err(problem) => {
                    // Where a body was announced, nobody knows what follows.
                    let keep = head.body() == Body::None && head.keep_alive();
                    let after = if keep { After::Keep } else { After::Close };
                    self.answer_problem(key, problem, head.method() == "HEAD", after);
                    return 0;
                }
            },
            Err(problem) => {
                self.answer_problem(key, problem, head.method() == "HEAD", After::Close);
                return 0;
            }
        };
        if let Some(body) = pending.body.whole(rest) {
            self.on_call(key, pending.call, pending.idempotency_key.as_deref(), body, pending.terms);
            return body.len();
        }
        let used = match pending.body.read(rest) {
            Ok(used) => used,
            Err(error) => {
                self.answer_problem(key, error.into(), false, After::Close);
                return rest.len();
            }
        };
        if pending.body.is_done() {
            self.on_whole_request(key, pending);
            return used;
        }
        let until = self.now.mono + self.limits.handshake_timeout;
        let Some(conn) = self.conns.get_mut(key) else { return used };
        // Who has begun to send the body does not wait to be told to.
        if rest.is_empty() && head.first("expect").is_some() {
            conn.outbox.push_own(&mut self.spares, 0, answer::go_on);
        }
        conn.phase = Phase::Body { pending: Box::new(pending), until };
        self.touch(key);
        self.rearm(key);
        used
    }

    /// Handles a piece of a request's body; returns how many bytes of `input` belong to it.
    pub(crate) fn consume_body(&mut self, key: Key, input: &[u8]) -> usize {
        let Some(conn) = self.conns.get_mut(key) else { return input.len() };
        let Phase::Body { pending, until } = &mut conn.phase else { return input.len() };
        match pending.body.read(input) {
            Ok(used) => {
                if pending.body.is_done() {
                    let after = Phase::Head { reader: None, until: *until };
                    if let Phase::Body { pending, .. } = std::mem::replace(&mut conn.phase, after) {
                        self.on_whole_request(key, *pending);
                    }
                }
                used
            }
            Err(error) => {
                self.answer_problem(key, error.into(), false, After::Close);
                input.len()
            }
        }
    }

    fn on_whole_request(&mut self, key: Key, pending: Pending) {
        let Pending { call, terms, idempotency_key, body } = pending;
        self.on_call(key, call, idempotency_key.as_deref(), &body.into_body(), terms);
    }

    fn on_call(&mut self, key: Key, call: Call, again: Option<&[u8]>, body: &[u8], terms: Terms) {
        let done = match call {
            Call::Publish { kind, name } => {
                let post = decode::post(body, kind);
                post.and_then(|post| self.post(kind, &name, &post, again, None)).map(|(topic, order)| {
                    self.await_orders(key, terms, None);
                    self.order(key, topic, 0, order);
                })
            }
            Call::Batch => decode::batch(body).map(|items| self.on_batch(key, &items, again, terms)),
            Call::Room { room } => self.order_about(key, terms, &room, Order::Standing),
            Call::RoomUsers { room, limit } => self.order_about(key, terms, &room, Order::Users { limit }),
            Call::RoomHistory { room, limit, before } => {
                self.order_about(key, terms, &room, Order::History { limit, before })
            }
            Call::Rooms { limit } => self.ask_shards(key, terms, Question::Rooms(limit), None),
            Call::Connections { limit, after } => {
                self.list_clients(key, terms, limit, after.unwrap_or_default())
            }
            Call::CloseConnection { id } => match self.place_of_client(&id) {
                Some((shard, client)) => self.ask_shards(key, terms, Question::Close(client), Some(shard)),
                None => {
                    self.await_orders(key, terms, None);
                    self.answer_part(key, &Part::Closed(0));
                    Ok(())
                }
            },
            Call::User { user } => self
                .addressed(TopicKind::Inbox, &user)
                .and_then(|topic| self.ask_shards(key, terms, Question::User(topic), None)),
            Call::CloseUser { user } => self
                .addressed(TopicKind::Inbox, &user)
                .and_then(|topic| self.ask_shards(key, terms, Question::CloseUser(topic), None)),
            Call::Drain => self.ask_shards(key, terms, Question::Drain, None),
            Call::Nodes | Call::BestNode => {
                self.answer_nodes(key, &call, terms);
                Ok(())
            }
        };
        if let Err(refusal) = done {
            let mut text = Vec::new();
            let status = encode::refused(&mut text, &refusal);
            self.answer_json(key, terms, status, &text);
        }
    }

    /// What an owner is asked to publish. `again` and the place in a batch make a second try known.
    fn post(
        &self,
        kind: TopicKind,
        name: &str,
        post: &Post<'_>,
        again: Option<&[u8]>,
        place: Option<u32>,
    ) -> Result<(Topic, Order), Refusal> {
        let topic = self.addressed(kind, name)?;
        if post.payload.len() > self.limits.message_bytes_max {
            let expected = "no longer than --max-message";
            return Err(Refusal::InvalidField { field: "message", expected });
        }
        let mark = again.map(|again| {
            let place = place.map_or(0, |place| u64::from(place) + 1).to_be_bytes();
            let texts = [topic.kind().word().as_bytes(), topic.name().as_bytes(), again, &place];
            self.keys.digest_of("idempotency key", &texts)
        });
        let user = User { id: (&*post.user_id).into(), name: post.username.as_deref().map(Into::into) };
        Ok((topic, Order::Post { user: Arc::new(user), payload: Shared::copy_of(post.payload), mark }))
    }

    /// The topic that is meant, which has to be one.
    fn addressed(&self, kind: TopicKind, name: &str) -> Result<Topic, Refusal> {
        match kind {
            TopicKind::Everyone => return Ok(self.everyone_topic.clone()),
            TopicKind::Inbox => {
                let field = field::of(kind);
                name::check(name, USER_ID_BYTES_MAX).map_err(|error| Refusal::BadName { field, error })?;
                return Ok(Topic::new(kind, name, self.keys));
            }
            TopicKind::Channel => pattern::one_topic(kind, name)?,
            _ => {}
        }
        self.topic((kind, name))
    }

    fn on_batch(
        &mut self,
        key: Key,
        items: &[Result<Item<'_>, Refusal>],
        again: Option<&[u8]>,
        terms: Terms,
    ) {
        let mut batch = Batch::new(items.len());
        let mut orders = Vec::new();
        for (number, item) in (0..).zip(items) {
            let order = item
                .as_ref()
                .map_err(Refusal::clone)
                .and_then(|item| self.post(item.kind, &item.name, &item.post, again, Some(number)));
            match order {
                Ok((topic, order)) => orders.push((number, topic, order)),
                Err(refusal) => {
                    let mut text = Vec::new();
                    encode::refused(&mut text, &refusal);
                    batch.put(number, text);
                }
            }
        }
        self.await_orders(key, terms, Some(batch));
        for (number, topic, order) in orders {
            self.order(key, topic, number, order);
        }
        self.answer_batch(key);
    }

    fn order_about(&mut self, key: Key, terms: Terms, room: &str, order: Order) -> Result<(), Refusal> {
        let topic = self.topic((TopicKind::Room, room))?;
        self.await_orders(key, terms, None);
        self.order(key, topic, 0, order);
        Ok(())
    }

    fn order(&mut self, key: Key, topic: Topic, number: u32, order: Order) {
        self.ask(key, topic, None, Ask::Order { number, order: Box::new(order) });
    }

    fn ask_shards(
        &mut self,
        key: Key,
        terms: Terms,
        question: Question,
        whom: Option<ShardId>,
    ) -> Result<(), Refusal> {
        self.await_orders(key, terms, None);
        self.gather(key, None, question, whom).inspect_err(|_| {
            self.take_asking(key);
        })
    }

    /// One shard after the other: a page ends where its shard does, though it may be short.
    fn list_clients(&mut self, key: Key, terms: Terms, limit: u32, from: Cursor) -> Result<(), Refusal> {
        if from.shard >= self.shards {
            let expected = "what next was";
            return Err(Refusal::InvalidField { field: "after", expected });
        }
        let question = Question::Clients { from: from.slot, limit };
        self.ask_shards(key, terms, question, Some(ShardId(from.shard)))
    }

    fn answer_nodes(&mut self, key: Key, call: &Call, terms: Terms) {
        let reading = total(&self.gauges);
        let node = Node { node: &self.node, connections: reading.connections, rooms: reading.rooms };
        let mut text = Vec::new();
        match call {
            Call::BestNode => encode::node(&mut text, &node),
            _ => encode::nodes(&mut text, &[node]),
        }
        self.answer_json(key, terms, Status::Ok, &text);
    }

    /// The request waits for others from now on, and its connection's input for the answer.
    pub(crate) fn await_orders(&mut self, key: Key, terms: Terms, batch: Option<Batch>) {
        let until = self.now.mono + self.limits.handshake_timeout;
        self.leave_phase(key);
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.phase = Phase::Asking(Box::new(Asking { terms, until, batch }));
        conn.hold.set(Hold::ANSWER);
        self.rearm(key);
    }

    /// The request waits no more: it is answered now.
    fn take_asking(&mut self, key: Key) -> Option<Terms> {
        let conn = self.conns.get_mut(key)?;
        let Phase::Asking(asking) = &conn.phase else { return None };
        let terms = asking.terms;
        conn.phase = Phase::Head { reader: None, until: asking.until };
        self.begin_request(key);
        self.release(key, Hold::ANSWER);
        Some(terms)
    }

    /// An owner's answer.
    pub(crate) fn on_told(&mut self, topic: &Topic, key: Key, number: u32, told: &Told) {
        let Some(Conn { phase: Phase::Asking(asking), .. }) = self.conns.get_mut(key) else { return };
        let mut text = Vec::new();
        let status = encode::told(&mut text, topic, told);
        if let Some(batch) = &mut asking.batch {
            batch.put(number, text);
            return self.answer_batch(key);
        }
        if let Some(terms) = self.take_asking(key) {
            self.answer_json(key, terms, status, &text);
        }
    }

    /// Answers a batch of which no part is missing any more.
    fn answer_batch(&mut self, key: Key) {
        let Some(Conn { phase: Phase::Asking(asking), .. }) = self.conns.get_mut(key) else { return };
        let Some(batch) = asking.batch.take_if(|batch| batch.missing == 0) else { return };
        let mut text = Vec::new();
        encode::results(&mut text, &batch.results);
        if let Some(terms) = self.take_asking(key) {
            self.answer_json(key, terms, Status::Ok, &text);
        }
    }

    /// What the shards have answered.
    pub(crate) fn answer_part(&mut self, key: Key, part: &Part) {
        let Some(terms) = self.take_asking(key) else { return };
        let mut text = Vec::new();
        match part {
            Part::Rooms { total, rooms, .. } => encode::rooms(&mut text, *total, rooms),
            Part::Clients { clients, next, shard } => {
                let following = Cursor { shard: shard.0 + 1, slot: 0 };
                let next = match next {
                    Some(slot) => Some(Cursor { shard: shard.0, slot: *slot }),
                    None => Some(following).filter(|next| next.shard < self.shards),
                };
                encode::connections(&mut text, total(&self.gauges).clients, &listed(clients), next);
            }
            Part::User { topic, clients, total } => {
                encode::user(&mut text, topic.name(), *total, &listed(clients));
            }
            Part::Closed(0) => {
                let problem = Problem::new(Status::NotFound, "There is no such connection.");
                return self.answer_problem(key, problem, terms.head_only, terms.after);
            }
            Part::Closed(count) => encode::closed(&mut text, *count),
            Part::Measured => return self.answer_metrics(key, terms),
            Part::Draining(count) => encode::draining(&mut text, *count),
            Part::Stats(_) => debug_assert!(false, "no request asks for these"),
        }
        self.answer_json(key, terms, Status::Ok, &text);
    }

    /// What others were asked cannot be answered.
    pub(crate) fn refuse_request(&mut self, key: Key, refusal: &Refusal) {
        let Some(terms) = self.take_asking(key) else { return };
        let mut text = Vec::new();
        let status = encode::refused(&mut text, refusal);
        self.answer_json(key, terms, status, &text);
    }

    /// Others were asked and have not answered: it may have been done, or not.
    pub(crate) fn on_answer_deadline(&mut self, key: Key) {
        let Some(terms) = self.take_asking(key) else { return };
        let problem = Problem::new(Status::ServiceUnavailable, "The answer did not come in time.");
        self.answer_problem(key, problem, terms.head_only, After::Close);
    }

    /// The server is going down: the answer is waited for a moment only, and is the last.
    pub(crate) fn hurry(&mut self, key: Key) {
        let until = self.now.mono + LINGER;
        let Some(Conn { phase: Phase::Asking(asking), .. }) = self.conns.get_mut(key) else { return };
        asking.until = asking.until.min(until);
        asking.terms.after = After::Close;
        self.rearm(key);
    }
}

impl Shard {
    /// Judges who wants to read what the API shows, as the metrics.
    pub(crate) fn judge_reader(
        &self,
        peer: Peer,
        head: &Head<'_>,
        target: &Target<'_>,
    ) -> Result<(), Problem> {
        covers(judge_caller(self.papers.api_keys.as_ref(), peer, head, target)?, Scope::Read)
    }
}

/// Judges who asks: by its key where there are keys, else by where it is. What the key may do; none: everything.
fn judge_caller(
    keys: Option<&ApiKeys>,
    peer: Peer,
    head: &Head<'_>,
    target: &Target<'_>,
) -> Result<Option<Scopes>, Problem> {
    let Some(keys) = keys else { return guard::judge(peer, head, target).map(|()| None) };
    let shown = head.first("x-api-key").or_else(|| access::bearer(head.first("authorization")?));
    let shown =
        shown.ok_or(access::unauthorized("The API asks for a key: Authorization: Bearer, or X-API-Key."))?;
    let scopes = keys.scopes(shown).ok_or(access::unauthorized("This is not a key of the API."))?;
    Ok(Some(scopes))
}

/// Refuses what the key of a request does not cover.
fn within(scopes: Option<Scopes>, pending: Pending) -> Result<Pending, Problem> {
    let needed = match pending.call {
        Call::Publish { .. } | Call::Batch => Scope::Publish,
        Call::CloseConnection { .. } | Call::CloseUser { .. } | Call::Drain => Scope::Admin,
        Call::Room { .. }
        | Call::RoomUsers { .. }
        | Call::RoomHistory { .. }
        | Call::Rooms { .. }
        | Call::Connections { .. }
        | Call::User { .. }
        | Call::Nodes
        | Call::BestNode => Scope::Read,
    };
    covers(scopes, needed).map(|()| pending)
}

fn covers(scopes: Option<Scopes>, needed: Scope) -> Result<(), Problem> {
    if scopes.is_none_or(|scopes| scopes.has(needed)) {
        return Ok(());
    }
    Err(Problem::new(Status::Forbidden, "This key of the API does not cover this."))
}

/// Clients as lists have them.
fn listed(clients: &[ClientSeen]) -> Vec<Connection<'_>> {
    let all = clients.iter().map(|client| Connection {
        id: &client.id,
        user_id: client.user.as_ref().map_or(&client.id, |user| &user.id),
        username: client.user.as_ref().and_then(|user| user.name.as_deref()),
        topics: client.topics,
    });
    all.collect()
}

/// Reads the head of a request that may be asked.
fn open(head: &Head<'_>, target: &Target<'_>, message_bytes_max: usize) -> Result<Pending, Problem> {
    let call = route::route(head.method(), target)?;
    let terms = Terms {
        head_only: head.method() == "HEAD",
        after: if head.keep_alive() { After::Keep } else { After::Close },
    };
    let mut keys = head.all("idempotency-key");
    let idempotency_key = match (keys.next(), keys.next()) {
        (None, _) => None,
        (Some(one), None) if decode::is_key(one) => Some(one.into()),
        _ => {
            let text = "There is at most one Idempotency-Key, and it has 1 to 255 bytes.";
            return Err(Problem { code: "invalid_field", ..Problem::new(Status::BadRequest, text) });
        }
    };
    if call.has_body() {
        if !guard::is_json(head) || head.tokens("content-encoding").any(|coding| coding != b"identity") {
            let text = "The body has to be of Content-Type application/json, without Content-Encoding.";
            return Err(Problem::new(Status::UnsupportedMediaType, text));
        }
        if head.tokens("expect").any(|wish| !wish.eq_ignore_ascii_case(b"100-continue")) {
            let text = "Nothing but 100-continue can be expected here.";
            return Err(Problem::new(Status::ExpectationFailed, text));
        }
    } else if head.body() != Body::None {
        return Err(Problem::new(Status::ContentTooLarge, "A request for this path has no body."));
    }
    let body = BodyReader::new(head.body(), message_bytes_max.saturating_add(ENVELOPE_BYTES_MAX))?;
    Ok(Pending { call, terms, idempotency_key, body })
}
