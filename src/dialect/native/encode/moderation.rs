//! What clients are told of moderators' acts, and of crowds.

use crate::dialect::native::encode::{named, number, open, text, users};
use crate::hub::event::{Attendance, Cleared};
use crate::hub::name::{Topic, User};

/// `kicked` or `muted`: what a moderator has done to this client's user.
pub(super) fn sanction(out: &mut Vec<u8>, kind: &str, topic: &Topic, by: &User, seconds: u64) {
    open(out, kind);
    named(out, topic);
    text(out, ",\"by\":", &by.id);
    number(out, ",\"seconds\":", seconds);
    out.push(b'}');
}

/// `history_cleared`: what was published up to `offset` is forgotten.
pub(super) fn history_cleared(out: &mut Vec<u8>, topic: &Topic, cleared: &Cleared) {
    open(out, "history_cleared");
    named(out, topic);
    text(out, ",\"by\":", &cleared.by.id);
    number(out, ",\"offset\":", cleared.offset);
    out.push(b'}');
}

/// `presence`: how many there are; and who, where they are few enough again.
pub(super) fn attendance(out: &mut Vec<u8>, topic: &Topic, attendance: &Attendance) {
    open(out, "presence");
    named(out, topic);
    number(out, ",\"members_count\":", u64::from(attendance.members_count));
    number(out, ",\"user_count\":", u64::from(attendance.user_count));
    if let Some(roll) = &attendance.roll {
        users(out, &roll.users, &roll.moderators);
    }
    out.push(b'}');
}
