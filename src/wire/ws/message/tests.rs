//! Frames into messages: every cut, every violation.

use super::*;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const MAX: usize = 1 << 16;

/// A step that owns its payload.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

/// Everything that was delivered, and how it ended: idle or not, or a violation.
type Story = (Vec<Seen>, Result<bool, Violation>);

/// A client's frame; also one that no client may send.
fn frame(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![if fin { 0x80 } else { 0 } | opcode];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | u8::try_from(len).unwrap()),
        len @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&KEY);
    bytes.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ KEY[i % 4]));
    bytes
}

fn spares() -> Buffers {
    Buffers::new(1 << 20)
}

/// Feeds one piece after the other, checking what holds after each step.
fn feed<'a>(pieces: impl IntoIterator<Item = &'a [u8]> + Clone, max: usize) -> Story {
    let story = feed_with(pieces.clone(), max, usize::MAX);
    assert_eq!(feed_with(pieces, max, 1), story, "where what can be is read into the message");
    story
}

/// As above; where there is room for `least` bytes in the message, that is where a piece begins.
fn feed_with<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, max: usize, least: usize) -> Story {
    let (mut assembler, mut spares) = (Assembler::new(), spares());
    let mut seen = Vec::new();
    for piece in pieces {
        let mut input = piece.to_vec();
        let mut at = 0;
        loop {
            let stepped = match assembler.room(least) {
                Some(room) => {
                    let count = room.len().min(input.len() - at);
                    room[..count].copy_from_slice(&input[at..at + count]);
                    assembler.placed(count).map(|step| (count, step))
                }
                None => {
                    let rest = input.len() - at;
                    let stepped = assembler.step(&mut input[at..], max, &mut spares);
                    if let Ok((used, Step::More)) = stepped {
                        assert_eq!(used, rest, "more was asked for before everything was consumed");
                    }
                    stepped
                }
            };
            let (used, step) = match stepped {
                Ok(found) => found,
                Err(violation) => return (seen, Err(violation)),
            };
            at += used;
            match step {
                Step::More if at < piece.len() => {}
                Step::More => break,
                Step::Text(text) => seen.push(Seen::Text(String::from_utf8(text.to_vec()).unwrap())),
                Step::Binary(bytes) => seen.push(Seen::Binary(bytes.to_vec())),
                Step::Ping(bytes) => seen.push(Seen::Ping(bytes.to_vec())),
                Step::Pong(bytes) => seen.push(Seen::Pong(bytes.to_vec())),
                Step::Close(Close { code, reason }) => {
                    seen.push(Seen::Close(code.map(|code| code.0), reason.to_owned()));
                }
            }
            assert!(assembler.buffered_bytes() <= FRONT + max + size_of::<Partial>());
        }
        assert!(!assembler.is_idle() || assembler.buffered_bytes() == 0, "an idle connection holds nothing");
    }
    (seen, Ok(assembler.is_idle()))
}

/// The story of `stream`, the same for all cuts into three pieces and into single bytes.
fn check_up_to(stream: &[u8], max: usize) -> Story {
    let story = feed([stream], max);
    for i in 0..=stream.len() {
        for j in i..=stream.len() {
            assert_eq!(feed([&stream[..i], &stream[i..j], &stream[j..]], max), story, "cut at {i} and {j}");
        }
    }
    assert_eq!(feed(stream.chunks(1), max), story, "byte by byte");
    story
}

fn check(frames: &[Vec<u8>]) -> Story {
    check_up_to(&frames.concat(), MAX)
}

fn text(text: &str) -> Seen {
    Seen::Text(text.to_owned())
}

#[test]
fn whole_frames() {
    let story = check(&[
        frame(true, 1, "Hellö".as_bytes()),
        frame(true, 2, &[0, 255, 1]),
        frame(true, 1, b""),
        frame(true, 9, b"ping"),
        frame(true, 10, b""),
        frame(true, 8, b"\x03\xe8bye"),
    ]);
    let expected = vec![
        text("Hellö"),
        Seen::Binary(vec![0, 255, 1]),
        text(""),
        Seen::Ping(b"ping".to_vec()),
        Seen::Pong(vec![]),
        Seen::Close(Some(1000), "bye".to_owned()),
    ];
    assert_eq!(story, (expected, Ok(true)));
}

#[test]
fn fragments_with_control_frames_between_them() {
    let story = check(&[
        // The second fragment begins within the ö, one is empty.
        frame(false, 1, b"Hell\xc3"),
        frame(true, 9, b"are you there"),
        frame(false, 0, b""),
        frame(true, 10, b"yes"),
        frame(true, 0, b"\xb6!"),
        frame(false, 2, b""),
        frame(true, 0, b""),
    ]);
    let expected = vec![
        Seen::Ping(b"are you there".to_vec()),
        Seen::Pong(b"yes".to_vec()),
        text("Hellö!"),
        Seen::Binary(vec![]),
    ];
    assert_eq!(story, (expected, Ok(true)));
}

#[test]
fn close_between_fragments() {
    let story = check(&[frame(false, 1, b"a"), frame(true, 8, b"")]);
    assert_eq!(story, (vec![Seen::Close(None, String::new())], Ok(false)));
}

#[test]
fn examples_of_the_rfc() {
    // RFC 6455 §5.7, the masked ones.
    let hello = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    let pong = b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    let story = check(&[hello.to_vec(), pong.to_vec()]);
    assert_eq!(story, (vec![text("Hello"), Seen::Pong(b"Hello".to_vec())], Ok(true)));
}

/// Checks that `frames` after a good message end with `violation`, and with the code for it.
fn check_violation(frames: &[Vec<u8>], violation: Violation, code: u16) {
    let mut stream = frame(true, 1, b"ok");
    stream.extend(frames.concat());
    assert_eq!(check_up_to(&stream, MAX), (vec![text("ok")], Err(violation)));
    assert_eq!(violation.close_code(), CloseCode(code));
    assert!((1..=close::REASON_BYTES_MAX).contains(&violation.reason().len()));
}

#[test]
fn violations_of_frames() {
    use frame::Violation as V;
    let with = |start: &[u8]| vec![[start, &KEY].concat()];
    for (frames, violation) in [
        (with(&[0xc1, 0x80]), V::ReservedBits),
        (with(&[0x83, 0x80]), V::ReservedOpcode),
        (with(&[0x8b, 0x80]), V::ReservedOpcode),
        (with(&[0x09, 0x80]), V::FragmentedControl),
        (with(&[0x81, 0x00]), V::Unmasked),
        (with(&[0x89, 0xfe, 0, 126]), V::LongControl),
        (with(&[0x82, 0xfe, 0, 125]), V::LengthNotMinimal),
        (with(&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]), V::LengthNotMinimal),
        (with(&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]), V::LengthTopBit),
    ] {
        check_violation(&frames, Violation::Frame(violation), 1002);
    }
}

#[test]
fn violations_of_sequence() {
    check_violation(&[frame(true, 0, b"x")], Violation::StrayContinuation, 1002);
    check_violation(&[frame(false, 0, b"")], Violation::StrayContinuation, 1002);
    for opcode in [1, 2] {
        for fin in [false, true] {
            let frames = [frame(false, 1, b"a"), frame(false, 0, b"b"), frame(fin, opcode, b"c")];
            check_violation(&frames, Violation::UnfinishedMessage, 1002);
        }
    }
}

#[test]
fn violations_of_text() {
    check_violation(&[frame(true, 1, b"a\xff")], Violation::Text, 1007);
    check_violation(&[frame(true, 1, b"cut \xe2\x82")], Violation::Text, 1007);
    check_violation(&[frame(false, 1, b"a\xe2"), frame(true, 0, b"\x82")], Violation::Text, 1007);
    check_violation(
        &[frame(false, 1, b"a\xe2"), frame(false, 0, b""), frame(true, 0, b"")],
        Violation::Text,
        1007,
    );
    check_violation(&[frame(false, 1, b"\xed"), frame(false, 0, b"\xa0")], Violation::Text, 1007);
}

#[test]
fn bad_text_fails_before_its_frame_has_come() {
    // Autobahn 6.4.3: the impossible byte is there, the rest of the frame is not.
    let whole = frame(true, 1, b"\xce\xba\xf4\x90\x80\x80\x65\x64\x69\x74\x65\x64");
    let head_len = 6;
    assert_eq!(feed([&whole[..head_len + 3]], MAX), (vec![], Ok(false)));
    assert_eq!(feed([&whole[..head_len + 4]], MAX), (vec![], Err(Violation::Text)));
}

#[test]
fn violations_of_close_frames() {
    let half = Violation::Close(close::Invalid::HalfCode);
    check_violation(&[frame(true, 8, b"\x03")], half, 1002);
    let code = Violation::Close(close::Invalid::Code(CloseCode(1005)));
    check_violation(&[frame(true, 8, b"\x03\xed")], code, 1002);
    let reason = Violation::Close(close::Invalid::Reason);
    check_violation(&[frame(true, 8, b"\x03\xe8\xff")], reason, 1007);
}

#[test]
fn the_limit_is_inclusive_and_over_all_fragments() {
    let fits = [
        frame(true, 2, &[7; 8]),
        frame(false, 2, &[7; 5]),
        frame(true, 9, b"123456789"),
        frame(true, 0, &[7; 3]),
    ];
    let (seen, end) = check_up_to(&fits.concat(), 8);
    assert_eq!((seen.len(), end), (3, Ok(true)));

    assert_eq!(check_up_to(&frame(true, 2, &[7; 9]), 8), (vec![], Err(Violation::TooBig)));
    let sum = [frame(false, 2, &[7; 5]), frame(false, 0, &[7; 4])].concat();
    assert_eq!(check_up_to(&sum, 8), (vec![], Err(Violation::TooBig)));
    assert_eq!(Violation::TooBig.close_code(), CloseCode(1009));
}

#[test]
fn too_big_is_said_at_the_header() {
    // The largest length there is, also after a fragment: no sum may overflow.
    let huge = [&[0x80, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], &KEY[..]].concat();
    let after_fragment = [frame(false, 2, b"abc"), huge.clone()].concat();
    for max in [0, 8, usize::MAX >> 2] {
        let mut first = huge.clone();
        first[0] |= 2;
        assert_eq!(feed([&first[..]], max).1, Err(Violation::TooBig));
        let story = if max == 0 { feed([&huge[..]], max) } else { feed([&after_fragment[..]], max) };
        assert!(story.1.is_err());
    }
    assert_eq!(feed([&after_fragment[..]], usize::MAX >> 2).1, Err(Violation::TooBig));
}

#[test]
fn memory_follows_what_arrived_and_not_what_was_declared() {
    let stream = frame(true, 2, &vec![5; MAX]);
    let mut assembler = Assembler::new();
    let mut arrived = 0;
    for piece in stream.chunks(100) {
        arrived += piece.len();
        let mut input = piece.to_vec();
        let (_, step) = assembler.step(&mut input, MAX, &mut spares()).unwrap();
        let is_whole = step != Step::More;
        assert_eq!(is_whole, arrived == stream.len());
        assert!(
            assembler.buffered_bytes()
                <= size_of::<Partial>() + BUFFER_BYTES_MIN.max(GROWTH * (FRONT + arrived)).min(FRONT + MAX)
        );
    }
    assert!(!assembler.is_idle());
    assert_eq!(assembler.step(&mut [], MAX, &mut spares()), Ok((0, Step::More)));
    assert!(assembler.is_idle());
    assert_eq!(assembler.buffered_bytes(), 0);
}

#[test]
fn a_whole_frame_is_given_back_in_place() {
    let mut input = [frame(true, 2, b"one"), frame(true, 1, b"two")].concat();
    let range = input.as_ptr_range();
    let mut assembler = Assembler::new();
    let (used, step) = assembler.step(&mut input, MAX, &mut spares()).unwrap();
    let Step::Binary(payload) = step else { panic!("{step:?}") };
    assert_eq!((&*payload, used), (&b"one"[..], 9));
    assert!(range.contains(&payload.as_ptr()));
    assert!(assembler.is_idle());
}

#[test]
fn fragments_leave_nothing_but_their_payload() {
    let mut assembler = Assembler::new();
    assembler.step(&mut frame(false, 1, b"a"), MAX, &mut spares()).unwrap();
    let before = assembler.buffered_bytes();
    let mut flood = frame(false, 0, b"").repeat(10_000);
    assert_eq!(assembler.step(&mut flood, MAX, &mut spares()).unwrap().1, Step::More);
    assert_eq!(assembler.buffered_bytes(), before);
    let mut end = frame(true, 0, b"z");
    assert_eq!(assembler.step(&mut end, MAX, &mut spares()).unwrap().1, Step::Text(&mut b"az".to_vec()));
}

#[test]
fn small_fragments_are_not_copied_again_and_again() {
    // Each time that the buffer moves to a larger one, everything before is copied.
    let mut assembler = Assembler::new();
    let (mut moves, mut capacity) = (0, 0);
    for i in 0..MAX / 64 {
        let mut input = frame(false, if i == 0 { 2 } else { 0 }, &[9; 64]);
        assembler.step(&mut input, MAX, &mut spares()).unwrap();
        moves += usize::from(assembler.buffered_bytes() != capacity);
        capacity = assembler.buffered_bytes();
    }
    assert!(moves <= 9, "256 bytes double to 64 KiB in 8 steps, not {moves}");
}

#[test]
fn what_an_idle_connection_costs() {
    assert!(size_of::<Assembler>() <= 24, "{} bytes", size_of::<Assembler>());
    assert!(size_of::<Partial>() <= 240, "{} bytes", size_of::<Partial>());
}

/// Threat 34: however the fragments come, one more than allowed fails the connection; control frames between them do
/// not count.
#[test]
fn fragments_are_counted() {
    let bounds = Bounds { bytes: MAX, fragments: 3 };
    for (continuations, fits) in [(2, true), (3, false)] {
        let mut input = frame(false, 1, b"a");
        for left in (0..continuations).rev() {
            input.extend(frame(true, 9, b"ping"));
            input.extend(frame(left == 0, 0, b""));
        }
        let (mut assembler, mut at, mut whole) = (Assembler::new(), 0, false);
        let end = loop {
            match assembler.step(&mut input[at..], bounds, &mut Buffers::new(0)) {
                Ok((_, Step::More)) => break Ok(()),
                Ok((used, step)) => {
                    whole |= matches!(step, Step::Text(_));
                    at += used;
                }
                Err(violation) => break Err(violation),
            }
        };
        assert_eq!(
            (whole, end),
            if fits { (true, Ok(())) } else { (false, Err(Violation::TooManyFragments)) }
        );
    }
    assert_eq!(Violation::TooManyFragments.close_code(), CloseCode::POLICY);
}
