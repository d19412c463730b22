//! Feeds bytes to an `Assembler` in pieces and writes down what comes out: shared by tests and fuzz targets.

use roomcast::base::buffers::Buffers;
use roomcast::wire::ws::message::{Assembler, Step, Violation};

/// A step that owns its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

/// What was delivered up to the end, the first close frame or the first violation; and which violation.
pub(crate) type Story = (Vec<Received>, Result<(), Violation>);

/// Heap that an assembler may take beside the message: its bookkeeping and one control frame.
const BOOKKEEPING_BYTES_MAX: usize = 256;

/// Feeds `stream` in pieces of these lengths (the last piece takes the rest) and checks after each that
/// nothing is kept beyond `message_bytes_max`, and nothing at all between messages.
pub(crate) fn receive(
    stream: &[u8],
    piece_lens: impl IntoIterator<Item = usize>,
    message_bytes_max: usize,
) -> Story {
    let (mut assembler, mut spares) = (Assembler::new(), Buffers::new(4 * message_bytes_max));
    let mut received = Vec::new();
    let mut rest = stream;
    let mut piece_lens = piece_lens.into_iter();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(piece_lens.next().unwrap_or(rest.len()).min(rest.len()));
        rest = after;
        let mut input = piece.to_vec();
        let mut at = 0;
        loop {
            let (used, step) = match assembler.step(&mut input[at..], message_bytes_max, &mut spares) {
                Ok(found) => found,
                Err(violation) => return (received, Err(violation)),
            };
            at += used;
            match step {
                Step::More => break,
                Step::Text(text) => {
                    received.push(Received::Text(String::from_utf8(text.to_vec()).expect("text is valid")));
                }
                Step::Binary(bytes) => received.push(Received::Binary(bytes.to_vec())),
                Step::Ping(payload) => received.push(Received::Ping(payload.to_vec())),
                Step::Pong(payload) => received.push(Received::Pong(payload.to_vec())),
                Step::Close(close) => {
                    received.push(Received::Close(close.code.map(|code| code.0), close.reason.to_owned()));
                    return (received, Ok(()));
                }
            }
            assert!(assembler.buffered_bytes() <= message_bytes_max + BOOKKEEPING_BYTES_MAX);
        }
        assert_eq!(at, input.len(), "more was asked for before everything was consumed");
        assert!(!assembler.is_idle() || assembler.buffered_bytes() == 0, "an idle connection holds nothing");
    }
    (received, Ok(()))
}
