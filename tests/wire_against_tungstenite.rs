//! Any sequence of frames, good and bad, cut anywhere: our verdict and content equal those of tungstenite.
//!
//! Where tungstenite differs with a right to (or wrongly), [`check`] lists the difference with its reason,
//! and [`every_allowed_difference_exists`] shows that each entry of the list is needed.

#[path = "support/received.rs"]
mod received;

use std::io::{self, Cursor, Read, Write};

use proptest::prelude::*;
use proptest::sample::Index;
use roomcast::wire::ws::close::{self, CloseCode};
use roomcast::wire::ws::frame;
use roomcast::wire::ws::message::Violation;
use tungstenite::Message;
use tungstenite::error::{Error, ProtocolError};
use tungstenite::protocol::frame::coding;
use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};

use received::{Received, receive};

/// Reads what was prepared, then end of file; swallows what is written.
struct Peer(Cursor<Vec<u8>>);

impl Read for Peer {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Peer {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        Ok(from.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What tungstenite's server makes of `stream`: deliveries, and the close code that its error stands for;
/// none if the stream just ended.
fn tungstenite_receive(stream: &[u8], max: usize) -> (Vec<Received>, Option<u16>) {
    let config = WebSocketConfig::default().max_message_size(Some(max)).max_frame_size(Some(max));
    let mut socket =
        WebSocket::from_raw_socket(Peer(Cursor::new(stream.to_vec())), Role::Server, Some(config));
    let mut received = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => received.push(Received::Text(text.to_string())),
            Ok(Message::Binary(bytes)) => received.push(Received::Binary(bytes.to_vec())),
            Ok(Message::Ping(payload)) => received.push(Received::Ping(payload.to_vec())),
            Ok(Message::Pong(payload)) => received.push(Received::Pong(payload.to_vec())),
            Ok(Message::Close(Some(close)))
                if close.code == coding::CloseCode::Protocol && close.reason == "Protocol violation" =>
            {
                // So it says that the code was not allowed; no client here sends this reason.
                return (received, Some(1002));
            }
            Ok(Message::Close(close)) => {
                let (code, reason) = close.map_or((None, String::new()), |close| {
                    (Some(close.code.into()), close.reason.to_string())
                });
                received.push(Received::Close(code, reason));
                return (received, None);
            }
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => return (received, None),
            Err(Error::Protocol(_)) => return (received, Some(1002)),
            Err(Error::Utf8(_)) => return (received, Some(1007)),
            Err(Error::Capacity(_)) => return (received, Some(1009)),
            other => panic!("{other:?}"),
        }
    }
}

/// Ways in which the two may part.
#[derive(Debug, PartialEq, Eq)]
enum Difference {
    None,
    /// RFC 6455 §5.2: "the minimal number of bytes MUST be used to encode the length". Tungstenite takes any.
    /// (In a control frame only the 7-bit form is minimal; we say [`frame::Violation::LongControl`] to others.)
    LengthNotMinimal,
    /// IANA's registry has 1014 (bad gateway) since RFC 6455; tungstenite refuses it.
    Code1014,
    /// The last frame has not come whole. We fail at the first byte that is wrong (Autobahn 6.4 wants that
    /// of text); tungstenite waits for the end of the frame.
    Earlier,
    /// Something else is wrong with a frame that is also too big. We check in the order of the bytes and say
    /// 1002; tungstenite compares the length first and says 1009.
    BrokenAndTooBig,
    /// A close frame with a bad code and a bad reason: we look at the code first, tungstenite at the reason.
    CodeAndReason,
}

/// Compares the two; panics at any difference that is not allowed. `is_cut`: the stream may end in a frame.
fn check(stream: &[u8], piece_lens: &[usize], max: usize, is_cut: bool) -> Difference {
    let (ours, end) = receive(stream, piece_lens.iter().copied(), max);
    let (theirs, their_code) = tungstenite_receive(stream, max);
    let our_code = end.err().map(|violation| violation.close_code().0);
    if ours == theirs && our_code == their_code {
        return Difference::None;
    }
    let message = format!("ours {ours:?} {end:?}, theirs {theirs:?} {their_code:?}, stream {stream:02x?}");
    match (end, their_code) {
        (Err(Violation::Frame(frame::Violation::LengthNotMinimal | frame::Violation::LongControl)), _)
            if theirs.starts_with(&ours) =>
        {
            Difference::LengthNotMinimal
        }
        (Ok(()), Some(1002))
            if matches!(ours.last(), Some(Received::Close(Some(1014), _)))
                && ours[..ours.len() - 1] == theirs =>
        {
            Difference::Code1014
        }
        (Err(_), None) if is_cut && ours == theirs => Difference::Earlier,
        (Err(violation), Some(1009)) if ours == theirs && violation.close_code() == CloseCode::PROTOCOL => {
            Difference::BrokenAndTooBig
        }
        (Err(Violation::Close(close::Invalid::Code(_))), Some(1007)) if ours == theirs => {
            Difference::CodeAndReason
        }
        _ => panic!("{message}"),
    }
}

/// How the length of a frame is written.
#[derive(Clone, Copy, Debug)]
enum Length {
    Minimal,
    In16Bits,
    In64Bits,
    /// This instead of the true one, in 64 bits.
    Lie(u64),
}

/// One frame, also such as no client may send.
#[derive(Clone, Debug)]
struct Sent {
    fin: bool,
    reserved: u8,
    opcode: u8,
    key: Option<[u8; 4]>,
    length: Length,
    payload: Vec<u8>,
}

impl Sent {
    fn encode(&self, stream: &mut Vec<u8>) {
        let mask = if self.key.is_some() { 0x80 } else { 0 };
        let len = self.payload.len();
        stream.push(u8::from(self.fin) << 7 | self.reserved << 4 | self.opcode);
        match (self.length, u16::try_from(len)) {
            (Length::Minimal, Ok(short @ 0..=125)) => stream.push(mask | short.to_be_bytes()[1]),
            (Length::Minimal | Length::In16Bits, Ok(length)) => {
                stream.push(mask | 126);
                stream.extend(length.to_be_bytes());
            }
            (length, _) => {
                stream.push(mask | 127);
                let length = if let Length::Lie(lie) = length { lie } else { len as u64 };
                stream.extend(length.to_be_bytes());
            }
        }
        stream.extend(self.key.iter().flatten());
        let key = self.key.unwrap_or_default();
        stream.extend(self.payload.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]));
    }
}

/// Text whole, text cut within a character, bytes, close payloads; sometimes longer than a limit below.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let text = "[a-z é€日🎉]{0,20}";
    prop_oneof![
        6 => text.prop_map(String::into_bytes),
        4 => (text, any::<Index>()).prop_map(|(text, cut)| {
            let mut bytes = text.into_bytes();
            bytes.truncate(cut.index(bytes.len() + 1));
            bytes
        }),
        2 => Just(Vec::new()),
        2 => prop::collection::vec(any::<u8>(), 0..8),
        2 => (close_code(), "[a-zé]{0,5}").prop_map(|(code, reason)| [&code.to_be_bytes(), reason.as_bytes()].concat()),
        1 => prop::collection::vec(any::<u8>(), 100..140),
        1 => (190..400_usize).prop_map(|len| vec![b'x'; len]),
        1 => (65_500..65_600_usize).prop_map(|len| vec![b'y'; len]),
    ]
}

fn close_code() -> impl Strategy<Value = u16> {
    prop_oneof![990..1020_u16, 2990..3010_u16, 4990..5010_u16, any::<u16>()]
}

fn length() -> impl Strategy<Value = Length> {
    prop_oneof![
        60 => Just(Length::Minimal),
        1 => Just(Length::In16Bits),
        1 => Just(Length::In64Bits),
        1 => prop_oneof![Just(u64::MAX), Just(1 << 63), Just(u64::MAX >> 1), Just(1 << 40)].prop_map(Length::Lie),
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    let opcode =
        prop_oneof![8 => Just(0), 10 => Just(1), 6 => Just(2), 1 => Just(8), 4 => Just(9), 3 => Just(10)];
    let opcode = prop_oneof![60 => opcode, 1 => 0..16_u8];
    let reserved = prop_oneof![80 => Just(0), 1 => 1..8_u8];
    let key = prop_oneof![80 => any::<[u8; 4]>().prop_map(Some), 1 => Just(None)];
    (prop::bool::weighted(0.6), reserved, opcode, key, length(), payload()).prop_map(
        |(fin, reserved, opcode, key, length, payload)| Sent { fin, reserved, opcode, key, length, payload },
    )
}

/// Mends most mistakes in the order of frames and in control frames, so that streams live long enough to
/// reach fragments; one frame in 20 stays as it is.
fn mend(frames: Vec<(Sent, bool)>) -> Vec<Sent> {
    let mut is_open = false;
    let mut mended = Vec::new();
    for (mut sent, is_wild) in frames {
        if !is_wild && sent.opcode >= 8 {
            sent.fin = true;
            sent.payload.truncate(125);
        } else if !is_wild && is_open {
            sent.opcode = 0;
        } else if !is_wild && sent.opcode == 0 {
            sent.opcode = 1;
        }
        if sent.opcode < 8 {
            is_open = !sent.fin;
        }
        mended.push(sent);
    }
    mended
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_frames_in_any_pieces(
        frames in prop::collection::vec((sent(), prop::bool::weighted(0.05)), 0..12).prop_map(mend),
        piece_lens in prop::collection::vec(prop_oneof![1..4_usize, 1..200_usize, 1..100_000_usize], 0..40),
        // Not below 125: tungstenite's limit is on control frames as well, ours on messages only.
        max in prop_oneof![Just(125_usize), Just(200), Just(70_000)],
        cut in prop::option::weighted(0.25, any::<Index>()),
    ) {
        let mut stream = Vec::new();
        for frame in &frames {
            frame.encode(&mut stream);
        }
        if let Some(cut) = cut {
            stream.truncate(cut.index(stream.len() + 1));
        }
        check(&stream, &piece_lens, max, cut.is_some());
    }
}

/// A masked frame with the shortest length.
fn good(fin: bool, opcode: u8, payload: &[u8]) -> Sent {
    Sent {
        fin,
        reserved: 0,
        opcode,
        key: Some([9, 8, 7, 6]),
        length: Length::Minimal,
        payload: payload.to_vec(),
    }
}

#[test]
fn every_allowed_difference_exists() {
    let check_frame = |sent: &Sent, cut_by: usize| {
        let mut stream = Vec::new();
        good(true, 1, b"before").encode(&mut stream);
        sent.encode(&mut stream);
        stream.truncate(stream.len() - cut_by);
        check(&stream, &[], 200, cut_by > 0)
    };
    assert_eq!(check_frame(&good(false, 2, b"fragment"), 0), Difference::None);
    let long_form = Sent { length: Length::In16Bits, ..good(true, 1, b"short") };
    assert_eq!(check_frame(&long_form, 0), Difference::LengthNotMinimal);
    let long_form = Sent { length: Length::In64Bits, ..good(true, 9, b"short") };
    assert_eq!(check_frame(&long_form, 0), Difference::LengthNotMinimal);
    assert_eq!(check_frame(&good(true, 8, &1014_u16.to_be_bytes()), 0), Difference::Code1014);
    assert_eq!(check_frame(&good(true, 1, b"\xf4\x90 and so on"), 3), Difference::Earlier);
    let reserved_and_long = Sent { reserved: 4, ..good(true, 2, &[0; 201]) };
    assert_eq!(check_frame(&reserved_and_long, 0), Difference::BrokenAndTooBig);
    assert_eq!(check_frame(&good(true, 8, b"\x00\x00\xff"), 0), Difference::CodeAndReason);
}
