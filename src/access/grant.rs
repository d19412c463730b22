//! What a token lets its user do: topics by pattern, kinds of commands, limits.
//!
//! Fails closed: a claim of the wrong form makes the whole token worthless, and a word that is not known here allows
//! nothing. Decides about one name at a time and knows nothing of who is in what.

use crate::hub::name::TopicKind;
use crate::hub::pattern::NamePattern;
use crate::wire::json::{self, Kind, Value};

/// Most messages per second, and at once, that a claim can allow: keeps the bucket's arithmetic from overflowing.
const RATE_MAX: u64 = 1_000_000;
/// Burst of a rate that names none, in seconds.
const BURST_SECONDS: u32 = 2;

/// A kind of command that needs permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Publish to rooms, channels and documents.
    Publish,
    /// Publish to everybody.
    Broadcast,
    /// Ask for the server's numbers.
    Stats,
    /// Send messages to users.
    Direct,
    /// Ask who is in a room.
    Presence,
}

/// Words of `can`.
pub const RIGHTS: [(&str, Right); 5] = [
    ("publish", Right::Publish),
    ("broadcast", Right::Broadcast),
    ("stats", Right::Stats),
    ("direct", Right::Direct),
    ("presence", Right::Presence),
];

/// Names of topics: those that match one of some patterns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(Box<[NamePattern]>);

impl Names {
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name))
    }
}

/// How much a user may send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Longest message, in bytes; none: as for everybody.
    pub message_bytes_max: Option<usize>,
    /// Messages per second and at once; none: as for everybody.
    pub rate: Option<(u32, u32)>,
    /// The same for all connections of the user together.
    pub user_rate: Option<(u32, u32)>,
}

/// What a user may do. Without any claim: be in every topic, write to those that it is in, send messages to users
/// and ask who is there; but neither publish to channels nor to everybody, nor ask for the server's numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    rooms: Option<Names>,
    channels: Option<Names>,
    documents: Option<Names>,
    can: Option<Box<[Right]>>,
    /// Rooms that the user moderates.
    moderates: Option<Names>,
    /// How much it may send.
    pub allowance: Allowance,
}

/// Stands for a wildcard of a subscription where a grant is held against it: no name holds it.
const ANYTHING: &str = "\u{1}";

impl Grants {
    /// Takes in a claim; one that is none of ours is passed over.
    ///
    /// # Errors
    /// What the claim has to be.
    pub fn claim(&mut self, name: &str, value: Value<'_>) -> Result<(), &'static str> {
        match name {
            "rooms" => self.rooms = Some(names(value).ok_or("rooms must be a list of patterns")?),
            "channels" => self.channels = Some(names(value).ok_or("channels must be a list of patterns")?),
            "documents" => self.documents = Some(names(value).ok_or("documents must be a list of patterns")?),
            "moderate" => self.moderates = Some(names(value).ok_or("moderate must be a list of patterns")?),
            "role" => {
                let role = value.text().ok_or("role must be a string")?;
                if role == "moderator" && self.moderates.is_none() {
                    self.moderates = Some(Names([NamePattern::new("*")].into()));
                }
            }
            "can" => {
                let words = strings(value).ok_or("can must be a list of words")?;
                let right = |word: &String| Some(RIGHTS.iter().find(|(known, _)| known == word)?.1);
                self.can = Some(words.iter().filter_map(right).collect());
            }
            "limits" => self.allowance = allowance(value).ok_or(LIMITS)?,
            _ => {}
        }
        Ok(())
    }

    /// Whether the user may be in a topic of this kind and name, read it and, with the right, write to it.
    #[must_use]
    pub fn may_enter(&self, kind: TopicKind, name: &str) -> bool {
        let granted = match kind {
            TopicKind::Room => &self.rooms,
            TopicKind::Channel => &self.channels,
            TopicKind::Document => &self.documents,
            TopicKind::Pattern => {
                return self.channels.as_ref().is_none_or(|granted| granted.has(&widest(name)));
            }
            // What is published to all; and what no client names.
            TopicKind::Feed | TopicKind::Inbox | TopicKind::Everyone => return true,
        };
        granted.as_ref().is_none_or(|granted| granted.has(name))
    }

    /// Whether the user may do this. Writing to what one is in is another thing than publishing to channels, which
    /// needs no membership: see [`Grants::may_write`].
    #[must_use]
    pub fn may(&self, right: Right) -> bool {
        match &self.can {
            Some(can) => can.contains(&right),
            None => matches!(right, Right::Direct | Right::Presence),
        }
    }

    /// Whether the user may write to the rooms and documents that it is in.
    #[must_use]
    pub fn may_write(&self) -> bool {
        self.can.is_none() || self.may(Right::Publish)
    }

    /// Whether the user moderates a room.
    #[must_use]
    pub fn moderates(&self, room: &str) -> bool {
        self.moderates.as_ref().is_some_and(|granted| granted.has(room))
            && self.may_enter(TopicKind::Room, room)
    }
}

/// A pattern over channels as a name that only a grant over all that it matches matches: each of its wildcards is a
/// character that no grant can spell, so only a star takes it, and a star takes whatever it stands for.
fn widest(pattern: &str) -> String {
    let levels = pattern.split('.').map(|level| if matches!(level, "*" | ">") { ANYTHING } else { level });
    levels.collect::<Vec<_>>().join(".")
}

const LIMITS: &str =
    "limits must be an object of max_message, rate, burst, user_rate and user_burst, positive integers";

fn allowance(value: Value<'_>) -> Option<Allowance> {
    let (mut bytes, mut rate, mut burst) = (None, None, None);
    let (mut user_rate, mut user_burst) = (None, None);
    let mut good = true;
    let parsed = json::object(value.raw(), |name, value| {
        let number = value.integer().filter(|number| *number > 0);
        let count = || number.and_then(|number| u32::try_from(number.min(RATE_MAX)).ok());
        match &*name.text() {
            "max_message" => bytes = number.and_then(|number| usize::try_from(number).ok()),
            "rate" => rate = count(),
            "burst" => burst = count(),
            "user_rate" => user_rate = count(),
            "user_burst" => user_burst = count(),
            _ => return,
        }
        good &= number.is_some();
    });
    let alone = |rate: Option<u32>, burst: Option<u32>| burst.is_some() && rate.is_none();
    if parsed.is_err() || !good || alone(rate, burst) || alone(user_rate, user_burst) {
        return None;
    }
    let with = |rate: u32, burst: Option<u32>| (rate, burst.unwrap_or(rate.saturating_mul(BURST_SECONDS)));
    let (rate, user_rate) =
        (rate.map(|rate| with(rate, burst)), user_rate.map(|rate| with(rate, user_burst)));
    Some(Allowance { message_bytes_max: bytes, rate, user_rate })
}

/// A list of strings; none if it is anything else.
pub(super) fn strings(value: Value<'_>) -> Option<Vec<String>> {
    if value.kind() != Kind::Array {
        return None;
    }
    let mut all = Some(Vec::new());
    let parsed = json::array(value.raw(), |member| match (member.text(), &mut all) {
        (Some(text), Some(found)) => found.push(text.into_owned()),
        _ => all = None,
    });
    all.filter(|_| parsed.is_ok())
}

fn names(value: Value<'_>) -> Option<Names> {
    let globs = strings(value)?;
    // A control character stands for a wildcard, see above; no name has one.
    let spelled = globs.iter().filter(|glob| !glob.chars().any(char::is_control));
    Some(Names(spelled.map(|glob| NamePattern::new(glob)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(claims: &str) -> Result<Grants, &'static str> {
        let mut grants = Grants::default();
        let mut wrong = Ok(());
        json::object(claims, |name, value| {
            if wrong.is_ok() {
                wrong = grants.claim(&name.text(), value);
            }
        })
        .expect("JSON");
        wrong.map(|()| grants)
    }

    #[test]
    fn without_claims_all_topics_are_open_and_what_reaches_strangers_is_not() {
        let grants = grants("{}").expect("good");
        for kind in [TopicKind::Room, TopicKind::Channel, TopicKind::Document, TopicKind::Pattern] {
            assert!(grants.may_enter(kind, "any.thing"));
        }
        assert!(grants.may_write() && grants.may(Right::Direct) && grants.may(Right::Presence));
        for right in [Right::Publish, Right::Broadcast, Right::Stats] {
            assert!(!grants.may(right), "{right:?}");
        }
        assert!(!grants.moderates("r"));
    }

    #[test]
    fn topics_are_granted_by_pattern_and_kind() {
        let grants = grants(r#"{"rooms":["chat:*","lobby"],"channels":[],"documents":["d"]}"#).expect("good");
        let room = |name| grants.may_enter(TopicKind::Room, name);
        assert!(room("chat:1") && room("lobby") && !room("lobby2") && !room("xchat:1"));
        assert!(!grants.may_enter(TopicKind::Channel, "chat:1"), "an empty list is none");
        assert!(
            grants.may_enter(TopicKind::Document, "d") && !grants.may_enter(TopicKind::Document, "lobby")
        );
        assert!(grants.may_enter(TopicKind::Feed, "load"), "feeds are for all");
    }

    #[test]
    fn can_is_the_whole_list_of_what_can_be_done() {
        let watcher = grants(r#"{"can":["stats","fly"]}"#).expect("an unknown word allows nothing");
        assert!(watcher.may(Right::Stats) && !watcher.may_write() && !watcher.may(Right::Direct));
        let publisher = grants(r#"{"can":["publish"]}"#).expect("good");
        assert!(publisher.may(Right::Publish) && publisher.may_write() && !publisher.may(Right::Presence));
    }

    /// A subscription by pattern must not reach what its single channels would not.
    #[test]
    fn a_pattern_is_granted_only_with_all_that_it_matches() {
        let may = |granted: &str, pattern| {
            grants(&format!(r#"{{"channels":["{granted}"]}}"#))
                .expect("good")
                .may_enter(TopicKind::Pattern, pattern)
        };
        assert!(may("news.*", "news.*") && may("news.*", "news.>") && may("*", ">") && may("n*", "news.*.x"));
        assert!(may("*.sport", "*.sport"));
        for (granted, pattern) in [
            ("news.*", ">"),
            ("news.*", "*.sport"),
            ("news.sport", "news.*"),
            ("news.s*", "news.*"),
            ("news.\\u0001", "news.*"),
            ("*.sport", "*"),
        ] {
            assert!(!may(granted, pattern), "{granted} {pattern}");
        }
    }

    #[test]
    fn moderators_are_made_by_role_or_pattern_and_only_where_they_may_be() {
        let all = grants(r#"{"role":"moderator","rooms":["a*"]}"#).expect("good");
        assert!(all.moderates("a1") && !all.moderates("b"));
        let some = grants(r#"{"moderate":["a*"]}"#).expect("good");
        assert!(some.moderates("a1") && !some.moderates("b"));
        assert!(!grants(r#"{"role":"admin"}"#).expect("good").moderates("a"));
    }

    #[test]
    fn limits_are_positive_integers() {
        let allowance = |claims: &str| grants(claims).map(|grants| grants.allowance);
        let read = allowance(r#"{"limits":{"max_message":100,"rate":5,"other":true}}"#).expect("good");
        assert_eq!(read, Allowance { message_bytes_max: Some(100), rate: Some((5, 10)), user_rate: None });
        let read = allowance(r#"{"limits":{"rate":5,"burst":50}}"#).expect("good");
        assert_eq!(read.rate, Some((5, 50)));
        let read = allowance(r#"{"limits":{"rate":5,"user_rate":7,"user_burst":9}}"#).expect("good");
        assert_eq!((read.rate, read.user_rate), (Some((5, 10)), Some((7, 9))));
        for wrong in [
            r#"{"rate":0}"#,
            r#"{"rate":"5"}"#,
            r#"{"burst":5}"#,
            r#"{"rate":1,"user_burst":5}"#,
            r#"{"max_message":1.5}"#,
            "5",
            "null",
        ] {
            assert!(allowance(&format!("{{\"limits\":{wrong}}}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn claims_of_the_wrong_form_are_no_grants() {
        for wrong in [r#""*""#, "null", "{}", r#"["a",1]"#, "true"] {
            for claim in ["rooms", "channels", "documents", "can", "moderate"] {
                assert!(grants(&format!("{{\"{claim}\":{wrong}}}")).is_err(), "{claim} {wrong}");
            }
        }
        assert!(grants(r#"{"role":["moderator"]}"#).is_err());
    }
}
