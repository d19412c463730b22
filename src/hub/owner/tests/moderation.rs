//! What moderators can do, and whom they cannot reach.

use super::*;
use crate::hub::command::Act;
use crate::hub::moderation::{Appointment, SANCTIONS_PER_TOPIC_MAX};
use crate::hub::pattern::NamePattern;

const MOD: (u16, u32) = (1, 9);

fn options() -> Options {
    let moderators = vec![Appointment { rooms: NamePattern::new("r*"), users: NamePattern::new("mod*") }];
    Options { moderators, ..Options::default() }
}

/// A room with a moderator and with ann, on two shards.
fn desk(options: Options) -> (Desk, Origin, Origin) {
    let mut desk = Desk::new(options);
    let (moderator, ann) = (origin(MOD.0, MOD.1), origin(0, 1));
    desk.join("r", moderator, "mod-1");
    desk.join("r", ann, "ann");
    (desk, moderator, ann)
}

fn kick(user_id: &str, seconds: u64) -> Ask {
    Ask::Moderate(Act::Kick { user_id: user_id.into(), seconds })
}

fn mute(user_id: &str, seconds: u64) -> Ask {
    Ask::Moderate(Act::Mute { user_id: user_id.into(), seconds })
}

impl Desk {
    fn says(&mut self, asker: Origin, ask: Ask) -> Vec<String> {
        words(&self.ask_tagged(&room("r"), asker, tag("1"), ask))
    }
}

#[test]
fn who_is_kicked_is_gone_with_all_connections_and_stays_out_for_its_time() {
    let (mut desk, moderator, ann) = desk(options());
    desk.join("r", origin(2, 5), "ann");
    desk.join("r", origin(0, 7), "bob");
    let told = desk.says(moderator, kick("ann", 60));
    assert_eq!(
        told,
        ["1:accepted 0", "0:kicked by mod-1 60", "2:kicked by mod-1 60", "0:-ann 2", "1:-ann 2"]
    );
    assert_eq!(words(&desk.publish("r", ann, 1)), ["0:NotMember(Room)"]);
    desk.now_ms = 59_000;
    assert_eq!(words(&desk.join("r", ann, "ann")), ["0:Banned { retry_after_ms: 1000 }"]);
    assert_eq!(words(&desk.join("r2", ann, "ann")), ["0:joined 1"], "other rooms are open");
    assert_eq!(words(&desk.join("r", origin(0, 1), "anna"))[0], "0:joined 3", "and so is this to others");
    desk.now_ms = 60_000;
    assert_eq!(words(&desk.join("r", origin(2, 5), "ann"))[0], "2:joined 4");
}

#[test]
fn a_ban_outlives_the_room() {
    let (mut desk, moderator, ann) = desk(options());
    desk.ask(&room("r"), moderator, kick("ann", 60));
    desk.leave("r", moderator);
    assert_eq!(desk.owner.counts(), Counts::default(), "the room is forgotten");
    assert_eq!(words(&desk.join("r", ann, "ann")), ["0:Banned { retry_after_ms: 60000 }"]);
    assert_eq!(desk.owner.counts(), Counts::default(), "and nothing is made for who may not come");
    assert_eq!(desk.owner.next_expiry(), Some(at_ms(60_000).mono));
    desk.owner.expire(at_ms(60_000).mono);
    assert!(desk.owner.sanctions.is_empty());
    assert_eq!(desk.owner.next_expiry(), None);
}

#[test]
fn a_kick_without_time_only_ends_memberships_and_the_last_word_counts() {
    let (mut desk, moderator, ann) = desk(options());
    assert_eq!(desk.says(moderator, kick("ann", 0))[1], "0:kicked by mod-1 0");
    assert_eq!(words(&desk.join("r", ann, "ann"))[0], "0:joined 2");
    desk.says(moderator, kick("ann", 60));
    // Whom one does not see can be kept out, too, and let in again.
    assert_eq!(desk.says(moderator, kick("ann", 0)), ["1:accepted 0"]);
    assert_eq!(words(&desk.join("r", ann, "ann"))[0], "0:joined 2");
    assert_eq!(desk.says(moderator, kick("eve", 60)), ["1:accepted 0"]);
    assert_eq!(words(&desk.join("r", origin(0, 3), "eve")), ["0:Banned { retry_after_ms: 60000 }"]);
    assert_eq!(desk.ask(&room("r"), moderator, kick("eve", 1)).len(), 0, "untagged, it is simply done");
}

#[test]
fn a_kick_has_no_grace_and_ends_one() {
    let (mut desk, moderator, ann) = desk(Options { presence_grace: Duration::from_secs(3), ..options() });
    assert_eq!(desk.says(moderator, kick("ann", 0))[1..], ["0:kicked by mod-1 0", "1:-ann 1"]);
    desk.join("r", ann, "ann");
    desk.leave("r", ann);
    assert_eq!(desk.says(moderator, kick("ann", 0)), ["1:accepted 0", "1:-ann 1"], "she was waited for");
    assert_eq!(desk.owner.next_expiry(), None);
}

#[test]
fn who_is_muted_is_told_and_neither_heard_nor_seen_typing() {
    let (mut desk, moderator, ann) = desk(options());
    desk.join("r", origin(2, 5), "ann");
    assert_eq!(
        desk.says(moderator, mute("ann", 10)),
        ["1:accepted 0", "0:muted by mod-1 10", "2:muted by mod-1 10"]
    );
    desk.now_ms = 1;
    assert_eq!(words(&desk.publish("r", ann, 1)), ["0:Muted { retry_after_ms: 9999 }"]);
    let typing = desk.ask(&room("r"), origin(2, 5), Ask::Typing { is_typing: true });
    assert_eq!(words(&typing), ["2:Muted { retry_after_ms: 9999 }"]);
    let sound = desk.ask(&room("r"), ann, Ask::Relay { payload: Shared::copy_of(b"sound") });
    assert_eq!(words(&sound), ["0:Muted { retry_after_ms: 9999 }"]);
    desk.leave("r", ann);
    desk.join("r", ann, "ann");
    assert_eq!(words(&desk.publish("r", ann, 1)), ["0:Muted { retry_after_ms: 9999 }"], "it is no way out");
    let server = Ask::Publish { payload: Shared::copy_of(b"x"), by: By::Server(user("ann")), echo: false };
    assert_eq!(words(&desk.ask(&room("r"), ann, server))[0], "1:published 1", "the server decides");
    assert_eq!(desk.says(moderator, mute("ann", 0)).len(), 3);
    assert_eq!(words(&desk.publish("r", ann, 1))[0], "0:published 2 copy");
}

#[test]
fn a_cleared_history_is_gone_and_the_numbering_goes_on() {
    let (mut desk, moderator, ann) = desk(options());
    let epoch = desk.recover("r", ann, 0, "").epoch;
    for _ in 0..3 {
        desk.publish("r", ann, 1);
    }
    assert!(desk.owner.counts().history_bytes > 0);
    let clear = || Ask::Moderate(Act::ClearHistory);
    let told = ["1:accepted 0", "0:cleared 3 by mod-1", "1:cleared 3 by mod-1"];
    assert_eq!(desk.says(moderator, clear()), told);
    assert_eq!(desk.owner.counts().history_bytes, 0);
    let before = desk.recover("r", ann, 2, &epoch);
    assert_eq!((before.recovered, before.offset, before.epoch), (Some(false), 3, Arc::clone(&epoch)));
    assert_eq!(desk.recover("r", ann, 3, &epoch).recovered, Some(true), "who had everything has it still");
    assert_eq!(words(&desk.publish("r", ann, 1))[0], "0:published 4 copy");
    assert_eq!(desk.recover("r", ann, 3, &epoch).messages.map(|all| all.len()), Some(1));
    assert_eq!(desk.recover("r", ann, 2, &epoch).recovered, Some(false));
}

#[test]
fn who_is_no_moderator_here_may_do_nothing() {
    let (mut desk, moderator, ann) = desk(options());
    for ask in [kick("bob", 1), mute("bob", 1), Ask::Moderate(Act::ClearHistory)] {
        assert_eq!(desk.says(ann, ask), ["0:Forbidden"]);
    }
    assert_eq!(desk.says(origin(2, 2), kick("ann", 1)), ["2:NotMember(Room)"]);
    // Moderators are out of each other's reach, and of their own.
    for ask in [kick("mod-2", 1), kick("mod-1", 1), mute("mod-1", 1)] {
        assert_eq!(desk.says(moderator, ask), ["1:Forbidden"]);
    }
    assert!(desk.owner.sanctions.is_empty());
    let elsewhere = room("another");
    desk.join("another", moderator, "mod-1");
    assert_eq!(words(&desk.ask(&elsewhere, moderator, kick("ann", 1))), ["1:Forbidden"]);
}

#[test]
fn moderators_are_shown_as_such() {
    let (mut desk, _, ann) = desk(options());
    assert_eq!(words(&desk.join("r", origin(0, 3), "mod-2"))[1..], ["0:+mod-2* 3 no copy", "1:+mod-2* 3"]);
    let seen = desk.recover("r", ann, 0, "").roll;
    assert_eq!((seen.users.len(), seen.moderators), (3, vec![0, 2]));
    match desk.ask(&room("r"), ann, Ask::Users).pop() {
        Some((_, Outcome::Reply { reply: Reply::Users { roll, .. }, .. })) => {
            assert_eq!(roll.moderators, [0, 2]);
        }
        other => panic!("{other:?}"),
    }
}

fn join_as(id: &str, by_right: bool) -> Ask {
    Ask::Join { user: user(id), since: None, history: 0, by_right }
}

/// As those whom the operator names: in lists, in the event of their coming, and out of reach.
#[test]
fn who_moderates_by_a_token_is_shown_as_such_for_as_long_as_it_says_so() {
    let (mut desk, moderator, ann) = desk(options());
    let (first, second) = (origin(0, 3), origin(2, 4));
    let told = words(&desk.ask(&room("r"), first, join_as("eve", true)));
    assert_eq!(told[1..], ["0:+eve* 3 no copy", "1:+eve* 3"]);
    assert_eq!(desk.recover("r", ann, 0, "").roll.moderators, [0, 2]);
    assert_eq!(desk.says(moderator, kick("eve", 5)), ["1:Forbidden"], "moderators do not reach each other");
    let by_right = |id: &str| Ask::ModerateByRight(Act::Kick { user_id: id.into(), seconds: 5 });
    assert_eq!(desk.says(first, by_right("eve")), ["0:Forbidden"], "nor themselves");
    // Another connection of the same user: what the user is stays, what that one may do does not follow.
    assert_eq!(words(&desk.ask(&room("r"), second, join_as("eve", false))), ["2:joined 4"]);
    assert_eq!(desk.says(second, kick("ann", 5)), ["2:Forbidden"]);
    assert_eq!(words(&desk.ask(&room("r"), second, Ask::Appoint(true))), [""; 0], "no news");
    desk.leave("r", first);
    assert_eq!(desk.recover("r", ann, 0, "").roll.moderators, [0, 2]);
    // The last token that said so is renewed by one that does not, and by one that does.
    let count = |shard: u16| format!("{shard}:count 3 3 Some(3)");
    assert_eq!(words(&desk.ask(&room("r"), second, Ask::Appoint(false))), [0, 1, 2].map(count));
    assert_eq!(desk.recover("r", ann, 0, "").roll.moderators, [0]);
    assert_eq!(words(&desk.ask(&room("r"), second, Ask::Appoint(true))), [0, 1, 2].map(count));
    assert_eq!(desk.recover("r", ann, 0, "").roll.moderators, [0, 2]);
    assert_eq!(words(&desk.ask(&room("r"), ann, join_as("ann", true)))[1..], [0, 1, 2].map(count));
    assert_eq!(words(&desk.ask(&room("elsewhere"), ann, Ask::Appoint(true))), [""; 0], "it is not there");
}

#[test]
fn bans_are_bounded_and_one_too_many_is_said() {
    let (mut desk, moderator, ann) = desk(options());
    let mut owner = desk.owner;
    let mut ban = |n: usize, ask: fn(&str, u64) -> Ask| {
        let ask = ask(&format!("u{n}"), 60);
        owner.handle(Request { topic: room("r"), origin: moderator, tag: tag("1"), ask }, at_ms(0));
        let (shard, outcome) = owner.poll().unwrap();
        words(&[(shard.0, outcome)]).remove(0)
    };
    for n in 0..SANCTIONS_PER_TOPIC_MAX {
        assert_eq!(ban(n, kick), "1:accepted 0");
    }
    assert_eq!(ban(SANCTIONS_PER_TOPIC_MAX, kick), "1:Unavailable");
    assert_eq!(ban(0, mute), "1:Unavailable");
    assert_eq!(ban(0, kick), "1:accepted 0", "again is not one more");
    desk = Desk { owner, now_ms: 60_000 };
    assert_eq!(words(&desk.join("r", ann, "u5"))[0], "0:joined 2");
}
