//! Binary messages as members get them, and what stands for them where JSON is written.
//!
//! Never turns bytes into text: a payload that is no JSON goes out in a frame of its own.

use crate::dialect::native::encode::{number, open, shown, text, time};
use crate::hub::event::{Body, Publication};
use crate::wire::typed::{Delivered, Kind};
use crate::wire::ws::frame::{self, Opcode};

/// The whole frame of a publication that is bytes, encoded in `scratch`; none if it is a value, whose frame is text.
pub fn frame<'a>(scratch: &'a mut Vec<u8>, room: &str, publication: &Publication) -> Option<&'a [u8]> {
    let kind = match publication.body {
        Body::Value => return None,
        Body::Plain => {
            return Some(frame::encode(Opcode::Binary, scratch, |out| {
                out.extend_from_slice(&publication.payload)
            }));
        }
        Body::Typed(number) => Kind::new(number)?,
    };
    let user = &publication.user.id;
    let (offset, payload) = (publication.offset, &publication.payload);
    let delivered = Delivered { kind, room, user, offset, payload };
    Some(frame::encode(Opcode::Binary, scratch, |out| delivered.write(out)))
}

/// `binary`: stands in a list of publications for one whose frame follows the list.
pub(super) fn stub(out: &mut Vec<u8>, room: &str, publication: &Publication, kind: u32) {
    open(out, "binary");
    text(out, ",\"room\":", room);
    shown(out, ",\"user_id\":", &publication.user);
    number(out, ",\"kind\":", u64::from(kind));
    number(out, ",\"bytes\":", u64::try_from(publication.payload.len()).unwrap_or(u64::MAX));
    time(out, publication.time);
    number(out, ",\"offset\":", publication.offset);
    out.push(b'}');
}
