//! The books of all members on one thread: whether each delivery is the one that had to come.
//!
//! Reads deliveries and the server's answers, sends nothing, and knows no time.

use crate::control::Control;
use crate::ledger::{Chain, Faults, Track};
use crate::marker::{self, LONG_BYTES, Mark};
use crate::plays::rooms::shape::Shape;

use std::sync::atomic::Ordering;

/// What a member is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Everything, from the first message to the last.
    All,
    /// Everything from its last join on.
    SinceJoin,
    /// All but what the server has announced as dropped. Where deliveries are not numbered nothing can be announced,
    /// and so nothing is owed.
    Announced,
    /// Nothing any more: it was disconnected for being slow.
    Nothing,
}

/// One member's page.
#[derive(Clone, Debug)]
struct Page {
    room: u32,
    claim: Claim,
    /// Whether it is in its room as far as the server has said; otherwise deliveries are a fault.
    is_member: bool,
    /// Number of the last delivery, where the server numbers them.
    offset: Option<u64>,
    /// Deliveries that the server said it dropped.
    announced: u64,
    chain: Chain,
}

/// The books of one thread.
#[derive(Debug)]
pub struct Books {
    publishers: usize,
    /// What stands before the number of a delivery.
    offset_name: Vec<u8>,
    /// What every payload looks like after the marker.
    filler: Vec<u8>,
    pages: Vec<Page>,
    /// For each member one on each publisher of its room.
    tracks: Vec<Track>,
    /// What was wrong.
    pub faults: Faults,
    /// First arrivals at members that are owed all.
    pub distinct: u64,
    /// Deliveries that a server said it dropped.
    pub announced: u64,
    /// Deliveries that members did not get whom nobody owed them.
    pub lost: u64,
}

/// What a delivery was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// No delivery at all.
    None,
    /// A delivery that had been there before, or was damaged.
    Fault,
    /// A new one.
    New(Mark),
}

impl Books {
    /// Empty books; `members` says for each its room and what it is owed.
    #[must_use]
    pub fn new(shape: &Shape, members: &[(u32, Claim)], offset_name: &str, filler: &[u8]) -> Books {
        let page = |(room, claim): &(u32, Claim)| Page {
            room: *room,
            claim: *claim,
            is_member: true,
            offset: None,
            announced: 0,
            chain: Chain::default(),
        };
        Books {
            publishers: shape.publishers,
            offset_name: offset_name.as_bytes().to_vec(),
            filler: filler.to_vec(),
            pages: members.iter().map(page).collect(),
            tracks: vec![Track::default(); members.len() * shape.publishers],
            faults: Faults::default(),
            distinct: 0,
            announced: 0,
            lost: 0,
        }
    }

    /// What member `at` is owed.
    #[must_use]
    pub fn claim(&self, at: usize) -> Claim {
        self.pages[at].claim
    }

    /// Number of the last delivery to member `at`.
    #[must_use]
    pub fn offset(&self, at: usize) -> Option<u64> {
        self.pages[at].offset
    }

    /// Member `at` was disconnected for being slow, and nothing more is owed to it.
    pub fn dismiss(&mut self, at: usize) {
        self.pages[at].claim = Claim::Nothing;
    }

    /// Whether nothing more can come to member `at`: it was dismissed, or has the last message of each publisher.
    #[must_use]
    pub fn is_done(&self, at: usize, control: &Control) -> bool {
        let page = &self.pages[at];
        let first = page.room as usize * self.publishers;
        let has_last = |publisher: usize| {
            let count = control.published[first + publisher].load(Ordering::Acquire);
            self.tracks[at * self.publishers + publisher].has_last(count)
        };
        page.claim == Claim::Nothing || (0..self.publishers).all(has_last)
    }

    /// Member `at` got `payload`.
    #[inline]
    pub fn take(&mut self, at: usize, payload: &[u8]) -> Entry {
        let found = memchr::memchr_iter(b'~', payload)
            .find_map(|start| Some((start, marker::read(&payload[start..], true)?)));
        let Some((start, mark)) = found else { return self.take_unread(payload) };
        let after = start + LONG_BYTES + self.filler.len();
        if payload.get(start + LONG_BYTES..after) != Some(&self.filler) {
            self.faults.corrupt += 1;
            return Entry::Fault;
        }
        let page = &mut self.pages[at];
        if !page.is_member {
            self.faults.uninvited += 1;
            return Entry::Fault;
        }
        if !self.offset_name.is_empty() {
            let offset = last_offset(&payload[after..], &self.offset_name);
            // A server that stops to number breaks the row as well, which then goes on as if it had not.
            if offset.is_none() || page.offset.is_some_and(|last| last.checked_add(1) != offset) {
                self.faults.offset_breaks += 1;
            }
            page.offset = offset.or(page.offset.and_then(|last| last.checked_add(1)));
        }
        self.enter(at, mark)
    }

    /// What has no marker that could be read: another kind of message, or a damaged one.
    #[cold]
    fn take_unread(&mut self, payload: &[u8]) -> Entry {
        if !memchr::memchr_iter(b'~', payload).any(|start| marker::is_damaged(&payload[start..])) {
            return Entry::None;
        }
        self.faults.corrupt += 1;
        Entry::Fault
    }

    #[inline]
    fn enter(&mut self, at: usize, mark: Mark) -> Entry {
        let page = &mut self.pages[at];
        let publisher = (mark.sender as usize).wrapping_sub(page.room as usize * self.publishers);
        if publisher >= self.publishers {
            // Another room's message.
            self.faults.corrupt += 1;
            return Entry::Fault;
        }
        if !self.tracks[at * self.publishers + publisher].take(mark.number, &mut self.faults) {
            return Entry::Fault;
        }
        page.chain.push(mark.sender, mark.number);
        if page.claim == Claim::All {
            self.distinct += 1;
        }
        Entry::New(mark)
    }

    /// The server has answered the join of member `at`: it is in, and has the messages that the answer holds; how many.
    pub fn joined(&mut self, at: usize, answer: &[u8]) -> u64 {
        let page = &mut self.pages[at];
        page.is_member = true;
        let numbered = !self.offset_name.is_empty();
        let offset = if numbered { first_offset(answer, &self.offset_name) } else { None };
        let before = std::mem::replace(&mut page.offset, offset);
        if page.claim == Claim::SinceJoin {
            self.end_stay(at);
            return 0;
        }
        let mut count = 0;
        for start in memchr::memchr_iter(b'~', answer) {
            let Some(mark) = marker::read(&answer[start..], true) else { continue };
            let after = start + LONG_BYTES + self.filler.len();
            if answer.get(start + LONG_BYTES..after) == Some(&self.filler) {
                self.enter(at, mark);
                count += 1;
            } else {
                self.faults.corrupt += 1;
            }
        }
        if let (Some(before), Some(offset)) = (before, offset)
            && before.checked_add(count) != Some(offset)
        {
            self.faults.offset_breaks += 1;
        }
        count
    }

    /// A stay of member `at` is over. Inside it nothing may be missing; where it ended cannot be known.
    fn end_stay(&mut self, at: usize) {
        for track in &mut self.tracks[at * self.publishers..(at + 1) * self.publishers] {
            self.faults.holes += std::mem::replace(track, Track::unknown()).inner_holes();
        }
    }

    /// The server has answered the leave of member `at`: nothing may come any more.
    pub fn left(&mut self, at: usize) {
        self.pages[at].is_member = false;
    }

    /// The server says that it dropped deliveries to member `at`.
    pub fn dropped(&mut self, at: usize, notice: &[u8]) {
        let page = &mut self.pages[at];
        let (Some(from), Some(to)) = (first_offset(notice, b",\"from\":"), first_offset(notice, b",\"to\":"))
        else {
            return;
        };
        let count = to.checked_sub(from).map(|rest| rest.saturating_add(1));
        if count.is_none() || page.offset.is_some_and(|last| last.checked_add(1) != Some(from)) {
            self.faults.offset_breaks += 1;
        }
        page.offset = Some(to);
        // Who is owed all lacks them, which is counted in the end.
        page.announced = page.announced.saturating_add(count.unwrap_or(0));
        self.announced = self.announced.saturating_add(count.unwrap_or(0));
    }

    /// Compares everything with what was published in all.
    pub fn close(&mut self, control: &Control) {
        for at in 0..self.pages.len() {
            let (room, claim) = (self.pages[at].room as usize, self.pages[at].claim);
            let mut own = Faults::default();
            for publisher in 0..self.publishers {
                let end = control.published[room * self.publishers + publisher].load(Ordering::Acquire);
                self.tracks[at * self.publishers + publisher].close(end, &mut own);
            }
            match claim {
                Claim::All => {
                    let is_complete = own.none();
                    self.faults.add(&own);
                    // Who lacks something has another order anyway.
                    let chain = self.pages[at].chain;
                    if is_complete && *control.chains[room].get_or_init(|| chain) != chain {
                        self.faults.divergent += 1;
                    }
                }
                Claim::SinceJoin if self.pages[at].is_member => self.faults.add(&own),
                Claim::SinceJoin => {
                    self.end_stay(at);
                    self.faults.corrupt += own.corrupt;
                }
                Claim::Announced | Claim::Nothing => {
                    self.lost += own.holes;
                    self.faults.corrupt += own.corrupt;
                    if claim == Claim::Announced && !self.offset_name.is_empty() {
                        self.faults.holes += own.holes.saturating_sub(self.pages[at].announced);
                    }
                }
            }
        }
    }
}

/// The number after `name` at the very end of an object, or else wherever `name` is last.
#[inline]
#[must_use]
pub fn last_offset(text: &[u8], name: &[u8]) -> Option<u64> {
    let inner = text.strip_suffix(b"}").unwrap_or(text);
    let digits = inner.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (before, number) = inner.split_at(inner.len() - digits);
    if digits > 0 && before.ends_with(name) {
        return std::str::from_utf8(number).ok()?.parse().ok();
    }
    number_at(text, memchr::memmem::rfind(text, name)? + name.len())
}

/// The number after `name`, where it is first.
#[must_use]
pub fn first_offset(text: &[u8], name: &[u8]) -> Option<u64> {
    number_at(text, memchr::memmem::find(text, name)? + name.len())
}

fn number_at(text: &[u8], at: usize) -> Option<u64> {
    let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&text[at..at + digits]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plays::rooms::shape::Upset;

    const NAME: &str = ",\"offset\":";

    fn shape(publishers: usize) -> Shape {
        Shape { rooms: 2, members: 4, publishers, size: 40, threads: 1, upset: Upset::None, restless: 0 }
    }

    fn books(claims: &[(u32, Claim)]) -> Books {
        Books::new(&shape(2), claims, NAME, &marker::filler(8))
    }

    fn message(sender: u32, number: u32, offset: u64) -> Vec<u8> {
        let filler = String::from_utf8(marker::filler(8)).unwrap();
        let marker = Mark { sender, number, time: 7 }.text();
        format!(
            "{{\"type\":\"chat_message\",\"user_id\":\"a~b\",\"message\":\"{marker}{filler}\",\
             \"timestamp\":\"x\",\"offset\":{offset}}}"
        )
        .into_bytes()
    }

    fn control() -> Control {
        let control = Control::new(Vec::new(), 4, 2);
        for published in &control.published {
            published.store(2, Ordering::Release);
        }
        control
    }

    fn close(mut books: Books) -> Faults {
        books.close(&control());
        books.faults
    }

    #[test]
    fn numbers_are_found_at_the_end_and_elsewhere() {
        let name = NAME.as_bytes();
        assert_eq!(last_offset(br#"","timestamp":"x","offset":17}"#, name), Some(17));
        assert_eq!(last_offset(br#"{"a":1,"offset":230,"epoch":"x"}"#, name), Some(230));
        assert_eq!(last_offset(br#"{"a":1}"#, name), None);
        assert_eq!(last_offset(br#"{"a":12,"offset":}"#, name), None);
        assert_eq!(first_offset(br#"{"a":1,"offset":5,"m":[{"b":0,"offset":9}]}"#, name), Some(5));
    }

    #[test]
    fn a_good_room_has_no_faults() {
        let mut books = books(&[(0, Claim::All), (0, Claim::All)]);
        for at in 0..2 {
            books.joined(at, br#"{"type":"room_joined","users":[],"offset":10,"epoch":"e"}"#);
            for (i, (sender, number)) in [(0, 0), (1, 0), (1, 1), (0, 1)].into_iter().enumerate() {
                let mark = Mark { sender, number, time: 7 };
                assert_eq!(books.take(at, &message(sender, number, 11 + i as u64)), Entry::New(mark));
            }
        }
        assert_eq!(books.distinct, 8);
        assert_eq!(books.take(0, b"{\"type\":\"user_joined\",\"user_id\":\"~\"}"), Entry::None);
        assert!(close(books).none());
    }

    #[test]
    fn planted_faults_are_found() {
        let run = |deliveries: &[(u32, u32, u64)]| {
            let mut books = books(&[(0, Claim::All)]);
            books.joined(0, br#"{"type":"room_joined","offset":0}"#);
            for (sender, number, offset) in deliveries {
                books.take(0, &message(*sender, *number, *offset));
            }
            close(books)
        };
        let none = Faults::default();
        assert_eq!(run(&[(0, 0, 1), (0, 1, 2), (1, 0, 3), (1, 1, 4)]), none);
        assert_eq!(run(&[(0, 0, 1), (0, 1, 2), (1, 0, 3)]), Faults { holes: 1, ..none });
        assert_eq!(
            run(&[(0, 0, 1), (0, 1, 2), (1, 1, 4)]),
            Faults { holes: 1, offset_breaks: 1, ..none },
            "a hole shows in both numberings"
        );
        assert_eq!(
            run(&[(0, 0, 1), (0, 0, 2), (0, 1, 3), (1, 0, 4), (1, 1, 5)]),
            Faults { duplicates: 1, ..none }
        );
        assert_eq!(run(&[(0, 1, 1), (0, 0, 2), (1, 0, 3), (1, 1, 4)]), Faults { disorder: 1, ..none });
        assert_eq!(
            run(&[(0, 0, 2), (0, 1, 3), (1, 0, 4), (1, 1, 5)]),
            Faults { offset_breaks: 1, ..none },
            "something came between the join and the first delivery"
        );
        assert_eq!(
            run(&[(0, 0, 1), (0, 1, 2), (1, 0, 3), (1, 1, 4), (2, 0, 5)]),
            Faults { corrupt: 1, ..none },
            "another room's publisher"
        );
    }

    #[test]
    fn damage_divergence_and_uninvited_deliveries_are_found() {
        let mut damaged = message(0, 0, 1);
        let marker = memchr::memmem::find(&damaged, b"\"~0").unwrap() + 1;
        damaged[marker + LONG_BYTES + 3] ^= 1;
        let mut books_of_one = books(&[(0, Claim::All)]);
        assert_eq!(books_of_one.take(0, &damaged), Entry::Fault);
        damaged[marker + 12] ^= 1;
        assert_eq!(books_of_one.take(0, &damaged), Entry::Fault, "another number, or one that is unreadable");
        assert_eq!(books_of_one.faults, Faults { corrupt: 2, ..Faults::default() });

        let mut books_of_two = books(&[(0, Claim::All), (0, Claim::All)]);
        for (at, order) in [(0, [(0, 0), (1, 0), (0, 1), (1, 1)]), (1, [(1, 0), (0, 0), (0, 1), (1, 1)])] {
            for (i, (sender, number)) in order.into_iter().enumerate() {
                books_of_two.take(at, &message(sender, number, 1 + i as u64));
            }
        }
        assert_eq!(close(books_of_two), Faults { divergent: 1, ..Faults::default() });

        let mut books_of_guest = books(&[(0, Claim::SinceJoin)]);
        books_of_guest.joined(0, b"{\"type\":\"room_joined\",\"offset\":4}");
        books_of_guest.take(0, &message(0, 1, 5));
        books_of_guest.left(0);
        assert_eq!(books_of_guest.take(0, &message(1, 1, 6)), Entry::Fault);
        assert_eq!(close(books_of_guest), Faults { uninvited: 1, ..Faults::default() });
    }

    #[test]
    fn holes_inside_a_stay_are_found_when_it_is_over() {
        let stay = |then: fn(&mut Books)| {
            let mut books = books(&[(0, Claim::SinceJoin)]);
            books.joined(0, b"{\"type\":\"room_joined\",\"offset\":0}");
            books.take(0, &message(1, 0, 1));
            books.take(0, &message(0, 1, 2));
            books.take(0, &message(0, 3, 3));
            books.left(0);
            then(&mut books);
            let control = control();
            control.published[0].store(9, Ordering::Release);
            books.close(&control);
            books.faults
        };
        let one = Faults { holes: 1, ..Faults::default() };
        assert_eq!(stay(|_| {}), one, "what came after it left is not owed");
        assert_eq!(
            stay(|books| {
                books.joined(0, b"{\"type\":\"room_joined\",\"offset\":7}");
                books.take(0, &message(0, 7, 8));
                books.take(0, &message(0, 8, 9));
            }),
            one
        );
    }

    #[test]
    fn a_server_that_stops_to_number_or_numbers_wildly_is_found() {
        let mut books = books(&[(0, Claim::All)]);
        books.joined(0, b"{\"type\":\"room_joined\",\"offset\":0}");
        books.take(0, &message(0, 0, 1));
        let bare = String::from_utf8(message(0, 1, 2)).unwrap().replace(",\"offset\":2", "");
        assert!(matches!(books.take(0, bare.as_bytes()), Entry::New(_)));
        assert_eq!(books.faults, Faults { offset_breaks: 1, ..Faults::default() });
        books.take(0, &message(1, 0, u64::MAX));
        books.take(0, &message(1, 1, 0));
        assert_eq!(books.faults, Faults { offset_breaks: 3, ..Faults::default() });
        books.dropped(0, format!("{{\"type\":\"dropped\",\"from\":1,\"to\":{}}}", u64::MAX).as_bytes());
        books.dropped(0, b"{\"type\":\"dropped\",\"from\":5,\"to\":4}");
        assert_eq!((books.announced, books.faults.offset_breaks), (u64::MAX, 4));
    }

    #[test]
    fn what_an_answer_brings_back_counts() {
        let recover = |second: (u32, u64)| {
            let mut books = books(&[(0, Claim::All)]);
            books.joined(0, b"{\"type\":\"room_joined\",\"offset\":0}");
            books.take(0, &message(0, 0, 1));
            let missed =
                [message(0, 1, 2), message(1, second.0, 3)].map(|m| String::from_utf8(m).unwrap()).join(",");
            let answer =
                format!("{{\"type\":\"room_joined\",\"offset\":{},\"messages\":[{missed}]}}", second.1);
            books.joined(0, answer.as_bytes());
            books.take(0, &message(1, 1, second.1 + 1));
            close(books)
        };
        assert!(recover((0, 3)).none());
        assert_eq!(
            recover((0, 4)),
            Faults { offset_breaks: 1, ..Faults::default() },
            "one less than it says"
        );
        assert_eq!(recover((1, 3)), Faults { holes: 1, duplicates: 1, ..Faults::default() });
    }

    #[test]
    fn drops_that_are_announced_are_no_fault_of_a_slow_member() {
        let mut books = books(&[(0, Claim::Announced)]);
        books.joined(0, b"{\"type\":\"room_joined\",\"offset\":0}");
        books.take(0, &message(0, 0, 1));
        books.dropped(0, b"{\"type\":\"dropped\",\"topic\":\"room:a\",\"room\":\"a\",\"from\":2,\"to\":3}");
        books.take(0, &message(1, 1, 4));
        books.close(&control());
        assert!(books.faults.none(), "{:?}", books.faults);
        assert_eq!((books.announced, books.lost), (2, 2));
    }

    #[test]
    fn what_a_slow_member_lost_without_a_word_is_a_hole() {
        let lost = |offset_name: &str| {
            let mut books = Books::new(&shape(2), &[(0, Claim::Announced)], offset_name, &marker::filler(8));
            books.joined(0, b"{\"type\":\"room_joined\",\"offset\":0}");
            books.take(0, &message(0, 0, 1));
            books.dropped(0, b"{\"type\":\"dropped\",\"from\":2,\"to\":2}");
            books.close(&control());
            (books.faults, books.lost)
        };
        assert_eq!(lost(NAME), (Faults { holes: 2, ..Faults::default() }, 3), "one of three was announced");
        assert_eq!(lost(""), (Faults::default(), 3), "who does not number cannot announce");
    }
}
