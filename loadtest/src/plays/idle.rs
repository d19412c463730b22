//! Idle: connections that are open and silent, each perhaps in a room; what they cost is read from outside.
//!
//! Pings are answered by [`crate::net`]. Nothing is published.

use std::collections::BTreeMap;

use crate::clock::Nanos;
use crate::control::Phase;
use crate::frame;
use crate::ledger::Faults;
use crate::net::{End, Net, Play};
use crate::plays::rooms::shape::room_name;
use crate::plays::{Dialing, Harvest, Recorder};
use crate::words::Words;

/// One thread's part of the scenario.
#[derive(Debug)]
pub struct Idle {
    /// Each connection's room.
    rooms: Vec<usize>,
    /// Masked join of each connection's room; empty = no rooms, or none that has to be joined.
    joins: Vec<Vec<u8>>,
    joined: Vec<u8>,
    has_joined: Vec<bool>,
    /// Connections that are open and, where there are rooms, have joined.
    ready: usize,
    dialing: Dialing,
    recorder: Recorder,
    received: u64,
}

impl Idle {
    /// Connections `first, first + step, …` below `end` of the whole run, spread over `rooms`.
    #[must_use]
    pub fn new(
        places: impl Iterator<Item = usize>,
        rooms: usize,
        words: &Words,
        at_once: usize,
        key: [u8; 4],
    ) -> Idle {
        let places: Vec<usize> = places.collect();
        let rooms_of: Vec<usize> = places.iter().map(|place| place.checked_rem(rooms).unwrap_or(0)).collect();
        let join = |room: &usize| Some(frame::masked(words.join_of(&room_name(*room))?.as_bytes(), key));
        Idle {
            joins: if rooms == 0 { Vec::new() } else { rooms_of.iter().filter_map(join).collect() },
            rooms: rooms_of,
            joined: words.joined.clone().into_bytes(),
            has_joined: vec![false; places.len()],
            ready: 0,
            dialing: Dialing::new(places.len(), at_once),
            recorder: Recorder::default(),
            received: 0,
        }
    }
}

impl Play for Idle {
    type Harvest = Harvest;

    fn enter(&mut self, phase: Phase, net: &mut Net) {
        self.recorder.enter(phase, net.now);
        if phase == Phase::Connect {
            for (at, room) in self.rooms.iter().enumerate() {
                net.route(at, u32::try_from(*room).unwrap_or(0));
            }
        }
    }

    fn opened(&mut self, at: usize, net: &mut Net) {
        if let Some(join) = self.joins.get(at) {
            net.send(at, |out| out.extend_from_slice(join));
        }
        if self.joins.is_empty() || self.joined.is_empty() {
            self.has_joined[at] = true;
            self.ready += 1;
        }
    }

    fn message(&mut self, at: usize, payload: &[u8], _: &mut Net) {
        self.received += 1;
        if !self.has_joined[at] && memchr::memmem::find(payload, &self.joined).is_some() {
            self.has_joined[at] = true;
            self.ready += 1;
        }
    }

    fn closed(&mut self, at: usize, end: &End, _: &mut Net) {
        if std::mem::take(&mut self.has_joined[at]) {
            self.ready -= 1;
        }
        self.recorder.lost(end);
    }

    fn turn(&mut self, net: &mut Net) -> Option<Nanos> {
        self.dialing.turn(net, &mut self.recorder);
        None
    }

    fn settled(&self, phase: Phase) -> bool {
        match phase {
            Phase::Connect | Phase::Prepare => self.ready == self.has_joined.len(),
            _ => true,
        }
    }

    fn counts(&self) -> (u64, u64) {
        (0, self.received)
    }

    fn harvest(self, net: &Net) -> Harvest {
        self.recorder.harvest(Faults::default(), BTreeMap::new(), net)
    }
}
