//! Request heads: any split gives one result, and whatever is accepted can be judged, routed and answered.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast::dialect::route::route;
use roomcast::wire::http::answer::{After, Problem};
use roomcast::wire::http::head::{HEAD_BYTES_MAX, HeadError, HeadReader, Slots};
use roomcast::wire::http::target::Target;
use roomcast::wire::ws::handshake::{choose, judge};

/// How far the head reaches and the answer to it, or why there is none; `None`: more is needed.
type Outcome = Result<Option<(usize, Vec<u8>)>, HeadError>;

fn feed<'p>(pieces: impl Iterator<Item = &'p [u8]>) -> Outcome {
    let mut reader = HeadReader::new();
    let mut before = 0;
    for piece in pieces {
        let mut slots = Slots::new();
        if let Some((head, consumed)) = reader.read(piece, &mut slots)? {
            assert!(consumed <= piece.len());
            let mut seen = format!("{head:?}").into_bytes();
            answer(&head, &mut seen);
            return Ok(Some((before + consumed, seen)));
        }
        before += piece.len();
    }
    assert!(before < HEAD_BYTES_MAX);
    Ok(None)
}

fn answer(head: &roomcast::wire::http::head::Head<'_>, out: &mut Vec<u8>) {
    let _ = choose(head.tokens("sec-websocket-protocol"), &["roomcast.v1", "chat"]);
    match judge(head) {
        Ok(key) => out.extend_from_slice(&key.accept()),
        Err(refusal) => Problem::from(refusal).write(out, false, After::Close),
    }
    match Target::parse(head.target()) {
        Ok(target) => {
            if let Err(miss) = route(head.method(), &target, |path| (path == "/").then_some(())) {
                Problem::from(miss).write(out, false, After::Keep);
            }
        }
        Err(error) => Problem::from(error).write(out, true, After::Close),
    }
}

// The first byte says how the rest is cut.
fuzz_target!(|data: &[u8]| {
    let Some((&size, stream)) = data.split_first() else { return };
    let whole = feed(std::iter::once(stream));
    assert_eq!(feed(stream.chunks(usize::from(size).max(1))), whole);
    let (first, second) = stream.split_at(stream.len() * usize::from(size) / 256);
    assert_eq!(feed([first, second].into_iter()), whole);
    if let Err(error) = whole {
        Problem::from(error).write(&mut Vec::new(), false, After::Close);
    }
});
