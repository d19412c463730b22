//! What users are sent by each other, and what becomes of it.

use super::{FRAMEWORK_BYTES, id, number, open, shown, text, time};
use crate::hub::event::Publication;

/// `direct_message`: its offset in the inbox is its `seq`.
pub fn direct_message(out: &mut Vec<u8>, message: &Publication) {
    let user = &message.user;
    let name_bytes = user.name.as_ref().map_or(0, |name| name.len());
    out.reserve(FRAMEWORK_BYTES + user.id.len() + name_bytes + message.payload.len());
    open(out, "direct_message");
    shown(out, ",\"user_id\":", user);
    out.extend_from_slice(b",\"message\":");
    out.extend_from_slice(&message.payload);
    time(out, message.time);
    number(out, ",\"seq\":", message.offset);
    out.push(b'}');
}

/// `ack` of a direct message: so many connections of its receiver were sent it.
pub fn delivered(out: &mut Vec<u8>, tag: Option<&[u8]>, connections: u32) {
    open(out, "ack");
    id(out, tag);
    number(out, ",\"delivered\":", connections.into());
    out.push(b'}');
}

/// `dropped`: these direct messages are no longer kept.
pub fn inbox_lost(out: &mut Vec<u8>, user_id: &str, (from, to): (u64, u64)) {
    open(out, "dropped");
    text(out, ",\"topic\":", &format!("user:{user_id}"));
    number(out, ",\"from\":", from);
    number(out, ",\"to\":", to);
    out.push(b'}');
}
