//! Request bodies: any split gives one result under one cap, and whatever is accepted can be read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast::dialect::api::decode;
use roomcast::hub::name::TopicKind;
use roomcast::wire::http::body::{BodyError, BodyReader};
use roomcast::wire::http::head::Body;

/// Small, so that inputs reach it.
const MAX: usize = 1000;

/// The body and how far it reaches, or why there is none; `None`: more is needed.
fn feed<'p>(
    body: Body,
    pieces: impl Iterator<Item = &'p [u8]>,
) -> Result<Option<(Vec<u8>, usize)>, BodyError> {
    let mut reader = BodyReader::new(body, MAX)?;
    let mut used = 0;
    for piece in pieces {
        let count = reader.read(piece)?;
        assert!(count <= piece.len() && (count == piece.len() || reader.is_done()));
        used += count;
        if reader.is_done() {
            break;
        }
    }
    Ok(reader.is_done().then(|| (reader.into_body(), used)))
}

// The first two bytes say how long the body is, if it is not in chunks, and how it is cut.
fuzz_target!(|data: &[u8]| {
    let [length, size, stream @ ..] = data else { return };
    let body = match length {
        0 => Body::Chunked,
        length => Body::Length(u64::from(*length) * 5),
    };
    let whole = feed(body, std::iter::once(stream));
    assert_eq!(feed(body, stream.chunks(usize::from(*size).max(1))), whole);
    let (first, second) = stream.split_at(stream.len() * usize::from(*size) / 256);
    assert_eq!(feed(body, [first, second].into_iter()), whole);
    if let Ok(Some((text, used))) = whole {
        assert!(text.len() <= MAX && text.len() <= used && used <= stream.len());
        let _ = decode::batch(&text);
        if let Ok(post) = decode::post(&text, TopicKind::Room) {
            assert!(post.payload.len() < text.len() && !post.user_id.is_empty());
        }
    }
});
