//! One request: routed, judged, answered or upgraded.
//!
//! Only the API's requests have bodies. Any other that announces one is refused and its connection ends: its bytes must
//! not be read as the next request.

use crate::base::clock::Mono;
use crate::base::id::Key;
use crate::dialect::api::route::is_api;
use crate::dialect::native;
use crate::dialect::route::{self, Endpoint};
use crate::hub::name::{self, NameError, USER_ID_BYTES_MAX};
use crate::metrics::shard::total;
use crate::metrics::table::{ANSWERS, Cell, HANDSHAKES, LIMITS_HIT};
use crate::pages::{self, Page};
use crate::shard::arrival::Introduction;
use crate::shard::conn::request::Terms;
use crate::shard::conn::socket::{Role, Socket};
use crate::shard::conn::{Conn, Phase};
use crate::shard::edge::access::{self, Credential};
use crate::shard::state::Shard;
use crate::wire::http::answer::{self, After, Answer, Hint, NOSNIFF, Problem, Status, with_headers};
use crate::wire::http::head::{Body, Head, HeadError, HeadReader, Slots};
use crate::wire::http::target::Target;
use crate::wire::ws::close::CloseCode;
use crate::wire::ws::handshake;

/// Told to whom the server takes no more: until then another one may stand in its place.
const RETRY_AFTER_S: u32 = 5;
/// Room for the head of an answer: few are longer, and those grow.
const HEAD_BYTES: usize = 1024;

impl Shard {
    /// Handles a request from the front of `input`; returns how many bytes are done with.
    pub(crate) fn consume_head(&mut self, key: Key, input: &[u8]) -> usize {
        let Some(Conn { phase: Phase::Head { reader, .. }, .. }) = self.conns.get_mut(key) else {
            return input.len();
        };
        let mut reader = reader.take().map_or_else(HeadReader::new, |reader| *reader);
        let mut slots = Slots::new();
        match reader.read(input, &mut slots) {
            Ok(Some((head, used))) => {
                if let Some(client) = self.client_behind(key, &head) {
                    // The same request is read again when the client may come.
                    let whole = reader.pieces().unwrap_or(&input[..used]).to_vec();
                    self.put_back(key, &whole);
                    self.locate(key, client);
                    return used;
                }
                return used + self.on_request(key, &head, &input[used..]);
            }
            Ok(None) => {}
            Err(error) => {
                use HeadError::{HeaderTooLong, MethodTooLong, TargetTooLong, TooLong, TooManyHeaders};
                if matches!(error, HeaderTooLong | MethodTooLong | TargetTooLong | TooLong | TooManyHeaders) {
                    self.tally.count(const { LIMITS_HIT.of("head_size") });
                }
                self.answer_problem(key, error.into(), false, After::Close);
                return input.len();
            }
        }
        if let Some(Conn { phase: Phase::Head { reader: kept, .. }, .. }) = self.conns.get_mut(key) {
            *kept = Some(Box::new(reader));
        }
        input.len()
    }

    /// Input that is to be handled once more, before what follows it.
    fn put_back(&mut self, key: Key, input: &[u8]) {
        debug_assert!(self.conns.get(key).is_none_or(|conn| conn.rest.is_none()), "it is being handled");
        self.hold_input(key, input);
    }

    /// Judges a request, which `rest` follows; returns how much of that is the request's body.
    fn on_request(&mut self, key: Key, head: &Head<'_>, rest: &[u8]) -> usize {
        match Target::parse(head.target()) {
            Ok(target) if self.limits.api && is_api(target.path()) => {
                return self.on_api(key, head, &target, rest);
            }
            Ok(target) => self.on_plain_request(key, head, &target),
            Err(error) => self.answer_problem(key, error.into(), head.method() == "HEAD", After::Close),
        }
        0
    }

    /// Judges a request that has no body.
    fn on_plain_request(&mut self, key: Key, head: &Head<'_>, target: &Target<'_>) {
        let head_only = head.method() == "HEAD";
        let after = if head.keep_alive() { After::Keep } else { After::Close };
        let endpoint = match route::route(head.method(), target, pages::find) {
            Ok(Endpoint::Echo) if !self.limits.echo => Err(route::Miss::NotFound),
            Ok(Endpoint::Metrics) if !self.limits.metrics => Err(route::Miss::NotFound),
            endpoint => endpoint,
        };
        let body = head.body() != Body::None;
        match endpoint {
            Err(miss) => {
                // Whoever sent a body, or sees an upgrade refused, may send what must not be read as a request.
                let close = body || head.first("upgrade").is_some();
                self.answer_problem(key, miss.into(), head_only, if close { After::Close } else { after });
            }
            Ok(Endpoint::Echo) => self.on_upgrade(key, head, target, None),
            Ok(Endpoint::Socket { room }) => match introduction(target, room.as_deref()) {
                Ok(introduction) => self.on_upgrade(key, head, target, Some(introduction)),
                Err(problem) => {
                    self.tally.count(const { HANDSHAKES.of("refused") });
                    self.answer_problem(key, problem, head_only, After::Close);
                }
            },
            Ok(Endpoint::Health | Endpoint::Ready | Endpoint::Metrics | Endpoint::Page(_)) if body => {
                let problem = Problem::new(Status::ContentTooLarge, "A request for this path has no body.");
                self.answer_problem(key, problem, head_only, After::Close);
            }
            Ok(Endpoint::Health) => self.answer_health(key, Terms { head_only, after }),
            Ok(Endpoint::Ready) if self.is_draining() => {
                let (terms, status) = (Terms { head_only, after }, Status::ServiceUnavailable);
                self.answer_json(key, terms, status, b"{\"status\":\"draining\"}\n");
            }
            Ok(Endpoint::Ready) => {
                self.answer_json(key, Terms { head_only, after }, Status::Ok, b"{\"status\":\"ready\"}\n");
            }
            Ok(Endpoint::Metrics) => self.on_scrape(key, head, target, Terms { head_only, after }),
            Ok(Endpoint::Page(page)) => self.answer_page(key, head, page, after),
        }
    }

    /// Turns the connection into a WebSocket: of a native client if it introduces itself, else of an echo.
    fn on_upgrade(
        &mut self,
        key: Key,
        head: &Head<'_>,
        target: &Target<'_>,
        introduction: Option<Introduction>,
    ) {
        let accept = match handshake::judge(head) {
            Ok(good) => good.accept(),
            // Whoever sees the upgrade refused may take what follows for frames: no second request.
            Err(refusal) => {
                self.tally.count(const { HANDSHAKES.of("refused") });
                return self.answer_problem(key, refusal.into(), head.method() == "HEAD", After::Close);
            }
        };
        if self.is_draining() {
            self.tally.count(const { HANDSHAKES.of("draining") });
            let problem = Problem::new(
                Status::ServiceUnavailable,
                "No new clients here; try another server, or later.",
            );
            return self.answer_problem(
                key,
                problem.with(Hint::RetryAfter(RETRY_AFTER_S)),
                false,
                After::Close,
            );
        }
        let admitted = access::judge_origin(&self.limits.access, head)
            .and_then(|()| self.credential_for(head, target, introduction.is_none()));
        let credential = match admitted {
            Ok(credential) => credential,
            Err(problem) => {
                self.tally.count(const { HANDSHAKES.of("refused") });
                return self.answer_problem(key, problem, false, After::Close);
            }
        };
        let known: &[&'static str] = if introduction.is_some() { &native::SUBPROTOCOLS } else { &[] };
        let subprotocol = access::subprotocol(&self.limits.access, head, known);
        let now = self.now.mono;
        let Some(conn) = self.conns.get_mut(key) else { return };
        let headers = &self.limits.headers;
        conn.outbox.push_own(&mut self.spares, 0, |out| {
            with_headers(out, headers, |out| answer::switch_protocols(out, &accept, subprotocol));
        });
        self.touch(key);
        match introduction {
            None => {
                self.tally.count(const { HANDSHAKES.of("echo") });
                self.leave_phase(key);
                if let Some(conn) = self.conns.get_mut(key) {
                    conn.phase = Phase::Socket(Socket::new(Role::Echo, now));
                }
            }
            Some(introduction) => {
                self.tally.count(const { HANDSHAKES.of("native") });
                self.receive(key, introduction, credential);
            }
        }
        self.rearm(key);
    }

    /// What a request for an upgrade shows of who it is. An echo has no message for a token, so there it has to come
    /// with the request.
    fn credential_for(
        &self,
        head: &Head<'_>,
        target: &Target<'_>,
        echo: bool,
    ) -> Result<Credential, Problem> {
        if !self.asks_for_tokens() {
            return Ok(Credential::None);
        }
        match self.credential(head, target) {
            Credential::Bad(refused) if echo => Err(access::unauthorized(refused.sentence())),
            Credential::None if echo => Err(access::unauthorized("A token is needed here.")),
            credential => Ok(credential),
        }
    }

    /// A native client was upgraded. One with a bad token, too: browsers show no other answer than a close frame.
    fn receive(&mut self, key: Key, mut introduction: Introduction, credential: Credential) {
        match credential {
            Credential::None if self.asks_for_tokens() => self.open_guest(key, introduction),
            Credential::None => self.come(key, introduction),
            Credential::Good(identity) => {
                self.identify(&mut introduction, *identity, None);
                self.come(key, introduction);
            }
            Credential::Bad(refused) => {
                self.open_guest(key, introduction);
                self.close(key, CloseCode::UNAUTHORIZED, refused.reason());
            }
        }
    }

    fn answer_health(&mut self, key: Key, terms: Terms) {
        let reading = total(&self.gauges);
        let uptime_s = self.now.mono.since(Mono(0)).as_secs();
        let body = format!(
            "{{\"status\":\"ok\",\"active_connections\":{},\"rooms\":{},\"uptime\":{uptime_s},\
             \"redis_connected\":false}}\n",
            reading.connections, reading.rooms,
        );
        self.answer_json(key, terms, Status::Ok, body.as_bytes());
    }

    /// Answers with a JSON text that nobody may keep.
    pub(crate) fn answer_json(&mut self, key: Key, terms: Terms, status: Status, body: &[u8]) {
        let headers = [NOSNIFF, ("Cache-Control", "no-store")];
        let Terms { head_only, after } = terms;
        let content_type = "application/json";
        self.answer(key, &Answer { status, content_type, headers: &headers, body, head_only, after });
    }

    fn answer_page(&mut self, key: Key, head: &Head<'_>, page: &'static Page, after: After) {
        let known = head.tokens("if-none-match").any(|tag| tag == page.etag.as_bytes() || tag == b"*");
        let headers = [
            NOSNIFF,
            ("Cache-Control", "no-cache"),
            ("ETag", page.etag),
            ("Content-Security-Policy", page.csp),
        ];
        self.answer(
            key,
            &Answer {
                status: if known { Status::NotModified } else { Status::Ok },
                content_type: page.content_type,
                headers: &headers,
                body: page.body,
                head_only: head.method() == "HEAD",
                after,
            },
        );
    }

    pub(crate) fn answer(&mut self, key: Key, answer: &Answer<'_>) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        self.tally.count(class(answer.status));
        let headers = &self.limits.headers;
        let bytes = if answer.head_only { 0 } else { HEAD_BYTES + answer.body.len() };
        conn.outbox.push_own(&mut self.spares, bytes, |out| {
            with_headers(out, headers, |out| answer.write(out));
        });
        conn.brake(&self.limits);
        self.after_answer(key, answer.after);
    }

    pub(crate) fn answer_problem(&mut self, key: Key, problem: Problem, head_only: bool, after: After) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        self.tally.count(class(problem.status));
        let headers = &self.limits.headers;
        conn.outbox.push_own(&mut self.spares, 0, |out| {
            with_headers(out, headers, |out| problem.write(out, head_only, after));
        });
        conn.brake(&self.limits);
        self.after_answer(key, after);
    }

    fn after_answer(&mut self, key: Key, after: After) {
        self.touch(key);
        if after == After::Close || self.is_ending() {
            return self.end(key);
        }
        let until = self.now.mono + self.limits.handshake_timeout;
        let Some(conn) = self.conns.get_mut(key) else { return };
        if let Phase::Head { until: deadline, .. } = &mut conn.phase {
            *deadline = until;
        }
        self.rearm(key);
    }
}

/// Where an answer is counted.
fn class(status: Status) -> Cell {
    const CLASSES: [Cell; 5] =
        [ANSWERS.of("1xx"), ANSWERS.of("2xx"), ANSWERS.of("3xx"), ANSWERS.of("4xx"), ANSWERS.of("5xx")];
    CLASSES[usize::from((status.number() / 100).clamp(1, 5)) - 1]
}

/// What the target says about who comes and where to.
fn introduction(target: &Target<'_>, room: Option<&str>) -> Result<Introduction, Problem> {
    let mut introduction =
        Introduction { rooms: room.into_iter().map(Into::into).collect(), ..Introduction::default() };
    for (field, value) in target.query() {
        match &*field {
            "room" => introduction.rooms.push(value?.into()),
            "heartbeat" => introduction.heartbeat = value? == "json",
            "user_id" => introduction.user_id = user_name(&value?)?,
            "username" => introduction.username = user_name(&value?)?,
            "session" => introduction.session = Some(value?.into()),
            "last_seq" => introduction.last_seq = Some(last_seq(&value?)?),
            _ => {}
        }
    }
    Ok(introduction)
}

/// How far a client has got in its session.
fn last_seq(text: &str) -> Result<u64, Problem> {
    let number = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    number.ok_or_else(|| Problem::new(Status::BadRequest, "last_seq is an integer, not negative."))
}

/// A user's id or name; an empty one is none.
fn user_name(text: &str) -> Result<Option<Box<str>>, Problem> {
    match name::check(text, USER_ID_BYTES_MAX) {
        Ok(()) => Ok(Some(text.into())),
        Err(NameError::Empty) => Ok(None),
        Err(NameError::TooLong { .. } | NameError::Control) => {
            let text = "user_id and username have at most 128 bytes and no control characters.";
            Err(Problem::new(Status::BadRequest, text))
        }
    }
}
