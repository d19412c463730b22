//! From what was typed to an outcome: builds each scenario's threads, has them conducted, works the figures out.

use std::sync::Arc;

use roomcast::base::prng::Prng;

use crate::audit;
use crate::clock::{self, Clock, Nanos, SECOND};
use crate::conduct::{self, Lengths, Record};
use crate::control::Control;
use crate::frame;
use crate::limits;
use crate::net::{Dial, Net, Play};
use crate::options::{Churn, Common, Connect, Cuts, Echo, Fanout, Flow, Idle, RoomShape, Slow, Storm};
use crate::outcome::{self, Generator, Latency, Outcome, Server, Verdict};
use crate::peers::Peer;
use crate::plays::echo::Pace;
use crate::plays::rooms::Rooms;
use crate::plays::rooms::shape::{Shape, Upset, room_name};
use crate::plays::{Harvest, connect, echo, idle};
use crate::progress::Progress;
use crate::schedule::Arrivals;
use crate::target::Target;
use crate::tls::{Secure, Trust};
use crate::words::Words;

/// Longest answer that is no message: to a join, with all members and what one of them missed.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// What a server may put around an echo, and say beside it.
const ECHO_BYTES_BESIDE: usize = 64 << 10;
/// Connections that are being opened at the same time, where nothing else was asked for.
const CONNECTING: u32 = 64;

/// Why there is no outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// What was typed cannot be done: exit code 2.
    Usage(String),
    /// The server or the way to it failed: exit code 1.
    Server(String),
    /// This machine does not let us: exit code 3.
    Machine(String),
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Problem::Usage(text) | Problem::Server(text) => f.write_str(text),
            Problem::Machine(text) => write!(f, "the generator's machine is too small for this: {text}"),
        }
    }
}

/// An outcome, and the latencies behind it.
pub type Ran = (Outcome, hdrhistogram::Histogram<u64>);

/// What all scenarios need before their threads can be made.
struct Stage {
    clock: Clock,
    dial: Dial,
    words: Words,
    threads: usize,
    connections: usize,
    at_once: usize,
}

impl Stage {
    /// `rooms` is how many there are, and zero where none is spoken of.
    fn new(common: &Common, connections: usize, rooms: usize) -> Result<Stage, Problem> {
        let words = match &common.words {
            Some(file) => Peer::read(file).map_err(Problem::Usage)?.words,
            None => Words::default(),
        };
        words.check().map_err(Problem::Usage)?;
        let target = Target::parse(&common.url).map_err(Problem::Usage)?;
        let files = limits::raise_files();
        if (connections as u64).saturating_add(limits::FILES_BESIDE) > files {
            let text = format!("{connections} connections, but only {files} open files (ulimit -Hn)");
            return Err(Problem::Machine(text));
        }
        let ports = limits::ports_per_source();
        let sources = limits::sources(target.address.ip(), connections, &common.source, ports)
            .map_err(Problem::Machine)?;
        let mut prng = Prng::new(common.seed);
        // No byte is zero, so that a server that forgets to unmask is found out.
        let key = [(); 4].map(|()| u8::try_from(1 + prng.below(255)).unwrap_or(1));
        let path = if rooms == 0 { &words.echo_path } else { &words.rooms_path };
        let paths = if path.contains("{room}") { rooms } else { 1 };
        let requests = (0..paths).map(|room| target.request(&path.replace("{room}", &room_name(room))));
        let dial = Dial {
            address: target.address,
            sources,
            requests: requests.collect(),
            secure: secure(&target, common).map_err(Problem::Usage)?,
            greeting: words.greeting.clone(),
            ping: (words.ping.clone(), words.pong.clone()),
            opcode: frame::TEXT,
            message_bytes_max: ANSWER_BYTES_MAX,
            key,
        };
        let threads = usize::from(common.threads).min(connections);
        let at_once = common.connecting.unwrap_or(CONNECTING) as usize;
        Ok(Stage { clock: Clock::start(), dial, words, threads, connections, at_once })
    }

    /// How many connections are on `thread`, where they are dealt out like cards.
    fn on(&self, thread: usize) -> usize {
        self.connections / self.threads + usize::from(thread < self.connections % self.threads)
    }

    /// Makes the threads, `play` for each, and runs them.
    fn run<P: Play<Harvest = Harvest> + 'static>(
        &self,
        common: &Common,
        (senders, rooms): (usize, usize),
        lengths: Lengths,
        play: impl Fn(usize, &Arc<Control>) -> P,
    ) -> Result<Record, Problem> {
        let made: Result<Vec<_>, _> = (0..self.threads)
            .map(|thread| Net::new(self.on(thread), self.dial.clone(), self.clock))
            .collect();
        let (nets, wakers): (Vec<Net>, Vec<_>) =
            made.map_err(|error| Problem::Machine(error.to_string()))?.into_iter().unzip();
        let control = Arc::new(Control::new(wakers, senders, rooms));
        let threads =
            nets.into_iter().enumerate().map(|(thread, net)| (net, play(thread, &control))).collect();
        let name = if common.name.is_empty() { &common.url } else { &common.name };
        let mut progress = Progress::new(name, self.connections as u64, common.duration, common.quiet);
        conduct::conduct(threads, &control, lengths, &common.pid, self.clock, &mut progress)
            .map_err(Problem::Server)
    }
}

/// The pace of one of `threads`, which has `own` of `all` senders and so that share of the rate.
#[expect(clippy::cast_precision_loss, reason = "at most 256 threads, and 2^24 senders")]
fn pace(flow: &Flow, (thread, threads): (usize, usize), (own, all): (usize, usize), seed: u64) -> Pace {
    let Some(rate) = flow.rate else { return Pace::InFlight(flow.in_flight) };
    let phase = (thread as f64 + 0.5) / threads as f64;
    let share = own as f64 / all.max(1) as f64;
    Pace::Rate(rate * share, phase, flow.arrivals, seed.wrapping_add(thread as u64))
}

fn secure(target: &Target, common: &Common) -> Result<Option<Secure>, String> {
    if !target.is_secure {
        return if common.insecure || common.ca.is_some() {
            Err("--ca and --insecure are for wss://".into())
        } else {
            Ok(None)
        };
    }
    let trust = match &common.ca {
        _ if common.insecure => Trust::All,
        Some(file) => Trust::Authority(file),
        None => Trust::Machine,
    };
    Secure::new(&target.host, trust).map(Some)
}

fn lengths(common: &Common, connections: usize, rate: Option<f64>) -> Lengths {
    Lengths {
        connections: connections as u64,
        warm: clock::nanos(common.duration.min(common.warmup)),
        measure: clock::nanos(common.duration),
        until_settled: false,
        // One message in two seconds is a slow schedule, not a stall.
        may_be_silent: rate.is_some_and(|rate| rate < 0.5),
    }
}

/// What the scenarios differ in when figures are worked out.
struct Frame<'a> {
    common: &'a Common,
    scenario: &'a str,
    settings: String,
    unit: &'a str,
    rate: Option<f64>,
    connections: usize,
    /// Connections come and go, so that those at the beginning are not all.
    is_fleeting: bool,
}

/// Works the figures out, and judges them.
fn outcome(record: Record, frame: &Frame<'_>) -> Ran {
    let (received, sent) = outcome::between(&record.begin, &record.end);
    let units = if frame.unit == "return" { record.harvest.latency.len() } else { received };
    let all_units = record.samples.last().map_or(units, |last| last.totals.received);
    let wall: Nanos = record.end.at.saturating_sub(record.begin.at);
    let connections = record.ready.totals.open;
    let server = Server::of(&record, units, connections.max(1));
    let generator = Generator::of(&record, units, all_units);
    let series = outcome::series(&record);
    let Record { harvest, complaints, .. } = record;
    let mut failures = audit::failures(&harvest.faults);
    failures.extend(complaints);
    failures.extend(harvest.complaints.iter().map(|(text, count)| format!("{text} ({count} times)")));
    if wall > SECOND / 10 && units == 0 && frame.unit != "connection" {
        failures.push("nothing arrived at all".into());
    }
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let rate = if wall == 0 { 0.0 } else { units as f64 / clock::seconds(wall) };
    let name = if frame.common.name.is_empty() { &frame.common.url } else { &frame.common.name };
    let mut outcome = Outcome {
        name: name.clone(),
        scenario: frame.scenario.into(),
        settings: frame.settings.clone(),
        unit: frame.unit.into(),
        began_ms: clock::wall_ms().saturating_sub(wall / clock::MILLI),
        verdict: Verdict::Good,
        failures,
        doubts: Vec::new(),
        rate_doubt: None,
        latency_doubt: None,
        tail_doubt: None,
        notes: Vec::new(),
        connections: connections.max(if frame.is_fleeting { frame.connections as u64 } else { 0 }),
        measured_s: clock::seconds(wall),
        sent,
        units,
        rate,
        latency: Latency::of(&harvest.latency),
        slip: Latency::of(&harvest.slip).filter(|_| frame.rate.is_some()),
        faults: harvest.faults,
        server,
        generator,
        extra: harvest.extra,
        series,
    };
    let judgement = audit::judge(&outcome, frame.rate);
    outcome.doubts = judgement.doubts;
    (outcome.rate_doubt, outcome.latency_doubt) = (judgement.rate, judgement.latency);
    outcome.tail_doubt = judgement.tail;
    outcome.notes.extend(judgement.note);
    outcome.verdict = match (outcome.failures.is_empty(), outcome.doubts.is_empty()) {
        (false, _) => Verdict::Failed,
        (true, false) => Verdict::Invalid,
        (true, true) => Verdict::Good,
    };
    (outcome, harvest.latency)
}

/// A number and what it counts.
fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn flow_text(flow: &Flow) -> String {
    match flow.rate {
        Some(rate) => format!("{rate} messages/s ({:?})", flow.arrivals).to_lowercase(),
        None => format!("{} in flight", flow.in_flight),
    }
}

/// Runs an echo.
///
/// # Errors
/// There is no outcome.
pub fn echo(options: &Echo) -> Result<Ran, Problem> {
    let Echo { common, flow, connections, size, binary } = options;
    let mut stage = Stage::new(common, *connections, 0)?;
    stage.dial.opcode = if *binary { frame::BINARY } else { frame::TEXT };
    stage.dial.message_bytes_max = size + ECHO_BYTES_BESIDE;
    let first = |thread: usize| (0..thread).map(|before| stage.on(before)).sum::<usize>();
    let record = stage.run(common, (0, 0), lengths(common, *connections, flow.rate), |thread, _| {
        let pace = pace(flow, (thread, stage.threads), (stage.on(thread), *connections), common.seed);
        let first = u32::try_from(first(thread)).unwrap_or(u32::MAX);
        let message = echo::Message::new(&stage.words, *size, *binary, stage.dial.key);
        echo::Echo::new(first, stage.on(thread), message, pace, stage.at_once)
    })?;
    let kind = if *binary { ", binary" } else { "" };
    let settings = format!("{connections} connections, {size} B{kind}, {}", flow_text(flow));
    let (rate, connections) = (flow.rate, *connections);
    Ok(outcome(
        record,
        &Frame { common, scenario: "echo", settings, unit: "message", rate, connections, is_fleeting: false },
    ))
}

/// Runs a fan-out.
///
/// # Errors
/// There is no outcome.
pub fn fanout(options: &Fanout) -> Result<Ran, Problem> {
    let Fanout { common, flow, shape } = options;
    rooms("fanout", common, flow, shape, (Upset::None, 0.0), lengths(common, 0, flow.rate))
}

/// Cuts all members off at once, and waits for the last to be back.
///
/// # Errors
/// There is no outcome.
pub fn storm(options: &Storm) -> Result<Ran, Problem> {
    let Storm { common, shape, rate, at_once } = options;
    let flow = Flow { in_flight: 1, rate: Some(*rate), arrivals: Arrivals::Even };
    let upset = Upset::Storm { at_once: at_once.unwrap_or(usize::MAX) };
    let lengths = Lengths { until_settled: true, may_be_silent: true, ..lengths(common, 0, Some(*rate)) };
    rooms("storm", common, &flow, shape, (upset, 1.0), lengths)
}

/// Cuts members off at random, all the time.
///
/// # Errors
/// There is no outcome.
pub fn cuts(options: &Cuts) -> Result<Ran, Problem> {
    let Cuts { common, shape, rate, every } = options;
    let flow = Flow { in_flight: 1, rate: Some(*rate), arrivals: Arrivals::Even };
    let upset = Upset::Cuts { every: clock::nanos(*every) };
    rooms("cuts", common, &flow, shape, (upset, 1.0), lengths(common, 0, Some(*rate)))
}

/// Lets members leave and come back all the time.
///
/// # Errors
/// There is no outcome.
pub fn churn(options: &Churn) -> Result<Ran, Problem> {
    let Churn { fanout: Fanout { common, flow, shape }, share, stay, away } = options;
    let upset = Upset::Churn { stay: clock::nanos(*stay), away: clock::nanos(*away) };
    rooms("churn", common, flow, shape, (upset, *share), lengths(common, 0, flow.rate))
}

/// Lets members read nothing.
///
/// # Errors
/// There is no outcome.
pub fn slow(options: &Slow) -> Result<Ran, Problem> {
    let Slow { fanout: Fanout { common, flow, shape }, share } = options;
    rooms("slow", common, flow, shape, (Upset::Slow, *share), lengths(common, 0, flow.rate))
}

/// Runs a scenario of rooms, of whose members `share` are upset.
fn rooms(
    scenario: &str,
    common: &Common,
    flow: &Flow,
    shape: &RoomShape,
    (upset, share): (Upset, f64),
    lengths: Lengths,
) -> Result<Ran, Problem> {
    let RoomShape { rooms, members, publishers, size } = *shape;
    if publishers > members {
        return Err(Problem::Usage("publishers are members, so there can't be more of them".into()));
    }
    let connections = rooms
        .checked_mul(members)
        .filter(|all| *all <= crate::marker::SENDERS_MAX)
        .ok_or_else(|| Problem::Usage("too many members".into()))?;
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a number of members"
    )]
    let restless = ((members as f64 * share).round() as usize).min(members - publishers);
    if upset != Upset::None && restless == 0 {
        return Err(Problem::Usage("no member is left to be upset: publishers never are".into()));
    }
    let mut stage = Stage::new(common, connections, rooms)?;
    stage.dial.message_bytes_max += 2 * size;
    if matches!(upset, Upset::Churn { .. }) && stage.words.leave.is_empty() {
        return Err(Problem::Usage("this server's words have no `leave`".into()));
    }
    let shape = Shape { rooms, members, publishers, size, threads: stage.threads, upset, restless };
    let lengths = Lengths { connections: connections as u64, ..lengths };
    let record = stage.run(common, (shape.senders(), rooms), lengths, |thread, control| {
        let senders = (shape.senders_on(thread), shape.senders());
        let pace = pace(flow, (thread, stage.threads), senders, common.seed);
        let (control, words) = (Arc::clone(control), stage.words.clone());
        let seed = common.seed.wrapping_add(thread as u64);
        Rooms::new(shape.clone(), thread, control, words, pace, stage.at_once, (stage.dial.key, seed))
    })?;
    let upset = match upset {
        Upset::None => String::new(),
        Upset::Slow => format!(", {restless} of each room read nothing"),
        Upset::Churn { .. } => format!(", {restless} of each room come and go"),
        Upset::Cuts { .. } => format!(", {restless} of each room cut off again and again"),
        Upset::Storm { .. } => format!(", {restless} of each room cut off at once"),
    };
    let settings = format!(
        "{} × {}, {} each, {size} B, {}{upset}",
        counted(rooms, "room"),
        counted(members, "member"),
        counted(publishers, "publisher"),
        flow_text(flow)
    );
    // A storm is over when it is over: what it sends meanwhile only has to be there.
    let is_storm = scenario == "storm";
    let (rate, unit) = if is_storm { (None, "return") } else { (flow.rate, "delivery") };
    Ok(outcome(record, &Frame { common, scenario, settings, unit, rate, connections, is_fleeting: is_storm }))
}

/// Holds connections open.
///
/// # Errors
/// There is no outcome.
pub fn idle(options: &Idle) -> Result<Ran, Problem> {
    let Idle { common, connections, rooms } = options;
    if common.hgrm.is_some() {
        return Err(Problem::Usage("idle sends nothing, so that --hgrm would be empty".into()));
    }
    let stage = Stage::new(common, *connections, (*rooms).max(1))?;
    let lengths = Lengths { may_be_silent: true, ..lengths(common, *connections, None) };
    let record = stage.run(common, (0, 0), lengths, |thread, _| {
        let places = (thread..*connections).step_by(stage.threads);
        idle::Idle::new(places, *rooms, &stage.words, stage.at_once, stage.dial.key)
    })?;
    let settings = format!("{connections} connections, {rooms} rooms");
    let connections = *connections;
    Ok(outcome(
        record,
        &Frame {
            common,
            scenario: "idle",
            settings,
            unit: "connection",
            rate: None,
            connections,
            is_fleeting: false,
        },
    ))
}

/// Opens and closes connections.
///
/// # Errors
/// There is no outcome.
pub fn connect(options: &Connect) -> Result<Ran, Problem> {
    let Connect { common, connections, rate, arrivals } = options;
    if common.connecting.is_some() {
        return Err(Problem::Usage("--connections says how many connect at once, not --connecting".into()));
    }
    let stage = Stage::new(common, *connections, 0)?;
    let flow = Flow { in_flight: 1, rate: *rate, arrivals: *arrivals };
    let record = stage.run(common, (0, 0), lengths(common, 0, *rate), |thread, _| {
        let own = stage.on(thread);
        connect::Connect::new(own, pace(&flow, (thread, stage.threads), (own, *connections), common.seed))
    })?;
    let pace = rate.map_or("closed loop".into(), |rate| format!("{rate} handshakes/s"));
    let settings = format!("{connections} at once, {pace}");
    let (rate, connections) = (*rate, *connections);
    Ok(outcome(
        record,
        &Frame {
            common,
            scenario: "connect",
            settings,
            unit: "handshake",
            rate,
            connections,
            is_fleeting: true,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_share_the_rate_by_their_senders() {
        let flow = Flow { in_flight: 1, rate: Some(300.0), arrivals: Arrivals::Even };
        let rate = |own| match pace(&flow, (0, 2), (own, 3), 1) {
            Pace::Rate(rate, phase, _, _) => (rate, phase),
            Pace::InFlight(_) => (0.0, 0.0),
        };
        assert_eq!((rate(0), rate(1), rate(3)), ((0.0, 0.25), (100.0, 0.25), (300.0, 0.25)));
    }
}
