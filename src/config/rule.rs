//! Rules for topics as people write them (`room:chat:*,history=500,ttl=24h`), read.

use std::time::Duration;

use crate::config::value::{self, Wrong, show_bytes};
use crate::hub::moderation::Appointment;
use crate::hub::name::TopicKind;
use crate::hub::pattern::NamePattern;
use crate::hub::policy::Rule;

/// Kinds that rules can speak of.
const KINDS: [TopicKind; 2] = [TopicKind::Room, TopicKind::Channel];
/// Longest history, in publications: with its bytes bounded anyway, more would be a mistake in typing.
const HISTORY_MAX: u32 = 1_000_000;
/// Shortest age at which a publication is forgotten.
const TTL_MIN: Duration = Duration::from_secs(1);
/// Longest age: a year.
const TTL_MAX: Duration = Duration::from_secs(365 * 24 * 3_600);
/// Most members: beyond what one machine holds.
const MEMBERS_MAX: u32 = 100_000_000;

/// Most memory that histories can be given.
pub const HISTORY_MEMORY_MAX: u32 = 3 << 30;

/// What an appointment looks like, for messages and docs.
pub const APPOINTS: &str = "ROOMS=USERS with a glob over the names of rooms and one over the ids of users";

/// Reads an appointment of moderators: a glob over rooms, an equals sign, a glob over users. A glob over rooms with an
/// equals sign cannot be written.
///
/// # Errors
/// When a glob is missing.
pub fn appointment(text: &str) -> Result<Appointment, Wrong> {
    let (rooms, users) = text.split_once('=').ok_or_else(|| Wrong::NoUsers(text.to_owned()))?;
    let glob = |glob: &str| match glob.trim() {
        "" => Err(Wrong::NoUsers(text.to_owned())),
        glob => Ok(NamePattern::new(glob)),
    };
    Ok(Appointment { rooms: glob(rooms)?, users: glob(users)? })
}

/// What a rule may hold, for messages and docs.
pub const ACCEPTS: &str = "room:GLOB or channel:GLOB and then, with commas between, history=N, ttl=DURATION, \
    bytes=BYTES, presence=on|off or members=N";

/// Reads a rule: kind, colon, a glob over names, and what holds for those topics. A glob with a comma cannot be
/// written.
///
/// # Errors
/// Names the part that is wrong.
pub fn rule(text: &str) -> Result<Rule, Wrong> {
    let mut parts = text.split(',').map(str::trim);
    let topic = parts.next().unwrap_or_default();
    let (kind, glob) = topic.split_once(':').ok_or_else(|| Wrong::NoKind(topic.to_owned()))?;
    let kind =
        *KINDS.iter().find(|known| known.word() == kind).ok_or_else(|| Wrong::NoKind(topic.to_owned()))?;
    if glob.is_empty() {
        return Err(Wrong::Part(topic.to_owned(), Box::new(Wrong::Empty)));
    }
    let mut rule = Rule::new(kind, NamePattern::new(glob));
    for part in parts {
        let (key, text) = part.split_once('=').ok_or_else(|| Wrong::NoKey(part.to_owned()))?;
        set(&mut rule, key, text).map_err(|wrong| match wrong {
            Wrong::NoKey(_) => Wrong::NoKey(part.to_owned()),
            wrong => Wrong::Part(part.to_owned(), Box::new(wrong)),
        })?;
    }
    Ok(rule)
}

fn set(rule: &mut Rule, key: &str, text: &str) -> Result<(), Wrong> {
    let number = |min, max| value::ranged(value::count(text)?, min, max, |n| n.to_string());
    match key {
        "history" => rule.history = Some(number(0, HISTORY_MAX)? as usize),
        "ttl" => rule.ttl = Some(value::between(value::duration(text)?, TTL_MIN, TTL_MAX)?),
        "bytes" => {
            rule.bytes =
                Some(value::ranged(value::bytes(text)?, 0, HISTORY_MEMORY_MAX, show_bytes)? as usize);
        }
        "presence" => rule.presence = Some(value::switch(text)?),
        "members" => rule.members = Some(number(1, MEMBERS_MAX)?),
        _ => return Err(Wrong::NoKey(key.to_owned())),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_part_by_part() {
        let read =
            rule("room:chat:*, history=500,ttl=24h,bytes=1MiB,presence=off,members=10").expect("a rule");
        let expected = Rule {
            history: Some(500),
            ttl: Some(Duration::from_secs(86_400)),
            bytes: Some(1 << 20),
            presence: Some(false),
            members: Some(10),
            ..Rule::new(TopicKind::Room, NamePattern::new("chat:*"))
        };
        assert_eq!(read, expected);
        assert_eq!(rule("channel:*"), Ok(Rule::new(TopicKind::Channel, NamePattern::new("*"))));
    }

    #[test]
    fn appointments_are_two_globs() {
        let globs = |text| appointment(text).map(|read| (read.rooms, read.users));
        let pair = |rooms, users| Ok((NamePattern::new(rooms), NamePattern::new(users)));
        assert_eq!(globs("chat:*=admin-*"), pair("chat:*", "admin-*"));
        assert_eq!(globs(" * = YWRtaW4= "), pair("*", "YWRtaW4="), "the first sign divides");
        for wrong in ["chat:*", "=admin", "chat:*=", " = "] {
            assert!(matches!(appointment(wrong), Err(Wrong::NoUsers(_))), "{wrong}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(rule("chat"), Err(Wrong::NoKind("chat".into())));
        assert_eq!(rule("user:x,history=1"), Err(Wrong::NoKind("user:x".into())));
        assert_eq!(rule("room:x,histroy=1"), Err(Wrong::NoKey("histroy=1".into())));
        assert_eq!(rule("room:x,history"), Err(Wrong::NoKey("history".into())));
        let wrong = Wrong::Part("ttl=5".into(), Box::new(Wrong::NoUnit));
        assert_eq!(rule("room:x,ttl=5"), Err(wrong));
        assert!(rule("room:").is_err() && rule("room:x,members=0").is_err());
    }
}
