//! Client frames → messages (RFC 6455 §5.4 to §5.6): fragments joined, control frames let through between
//! them, text checked, limits held, whatever way the bytes are cut.
//!
//! Never answers (pongs and close frames are the caller's), never keeps what it delivered, and never
//! allocates for what was declared but has not arrived.
//!
//! ```text
//!            header of a data frame            last byte of the frame with FIN
//!   idle ───────────────────────────► partial ────────────────────────────────► delivered ──► idle
//!    │ ▲                               │ ▲                                       (until the next step)
//!    └─┘ frame whole in the input      └─┘ fragments; control frames
//! ```

use crate::base::buffers::Buffers;
use crate::wire::ws::close::{self, Close, CloseCode};
use crate::wire::ws::frame::{
    self, CLIENT_HEADER_BYTES_MAX, CONTROL_BYTES_MAX, Header, Opcode, SERVER_HEADER_BYTES_MAX,
};
use crate::wire::ws::mask::unmask;
use crate::wire::ws::utf8::{self, Utf8};

/// Smallest buffer of a message that comes in pieces: what a first read usually brings, so that short
/// messages are allocated once.
const BUFFER_BYTES_MIN: usize = 256;
/// How much room there is for each byte that has come: a message of 1 MiB that comes in four reads is never moved.
const GROWTH: usize = 4;
/// The same for a buffer that is there anyway: who sends little holds little, whatever was sent by others.
const SPARE_GROWTH: usize = 16;
/// A piece that is unmasked, validated and copied before the next is touched: it stays in the processor's first cache.
const PIECE_BYTES: usize = 16 << 10;
/// Most that is read into a message at once: it stays in the processor's second cache until it is unmasked.
const ROOM_BYTES_MAX: usize = 256 << 10;
/// Room before a message that comes in pieces, for the header of the frame that it may become.
pub const FRONT: usize = SERVER_HEADER_BYTES_MAX;

/// What the bytes so far amount to. Payloads are unmasked.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// All input is consumed; nothing is complete.
    More,
    /// A message of valid UTF-8.
    Text(&'a mut [u8]),
    /// A message of bytes.
    Binary(&'a mut [u8]),
    /// To be answered by a pong with the same payload.
    Ping(&'a [u8]),
    /// A sign of life.
    Pong(&'a [u8]),
    /// The client's last frame; whatever follows it is the caller's to ignore.
    Close(Close<'a>),
}

/// What a message may have over all its fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of payload.
    pub bytes: usize,
    /// Fragments.
    pub fragments: u32,
}

/// So many bytes, in however many fragments.
impl From<usize> for Bounds {
    fn from(bytes: usize) -> Bounds {
        Bounds { bytes, fragments: u32::MAX }
    }
}

/// Why the connection must be failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Not a frame that a client may send.
    Frame(frame::Violation),
    /// A continuation, but no message was begun.
    StrayContinuation,
    /// A new message, but the one before has not ended.
    UnfinishedMessage,
    /// The message is, or declares to become, longer than allowed.
    TooBig,
    /// The message comes in more fragments than allowed.
    TooManyFragments,
    /// A text message that is not UTF-8.
    Text,
    /// A close frame whose payload is none.
    Close(close::Invalid),
}

impl Violation {
    /// What to close the connection with (§7.4.1).
    #[must_use]
    pub fn close_code(self) -> CloseCode {
        match self {
            Violation::Frame(_) | Violation::StrayContinuation | Violation::UnfinishedMessage => {
                CloseCode::PROTOCOL
            }
            Violation::TooBig => CloseCode::TOO_BIG,
            Violation::TooManyFragments => CloseCode::POLICY,
            Violation::Text | Violation::Close(close::Invalid::Reason) => CloseCode::INVALID_TEXT,
            Violation::Close(close::Invalid::HalfCode | close::Invalid::Code(_)) => CloseCode::PROTOCOL,
        }
    }

    /// The reason for the close frame; short, and without anything that the client sent.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Violation::Frame(frame::Violation::ReservedBits) => "reserved bits set",
            Violation::Frame(frame::Violation::ReservedOpcode) => "reserved opcode",
            Violation::Frame(frame::Violation::FragmentedControl) => "fragmented control frame",
            Violation::Frame(frame::Violation::Unmasked) => "frame not masked",
            Violation::Frame(frame::Violation::LongControl) => "control frame too long",
            Violation::Frame(frame::Violation::LengthNotMinimal) => "length not minimal",
            Violation::Frame(frame::Violation::LengthTopBit) => "length out of range",
            Violation::StrayContinuation => "continuation of nothing",
            Violation::UnfinishedMessage => "message not finished",
            Violation::TooBig => "message too big",
            Violation::TooManyFragments => "too many fragments",
            Violation::Text => "text is not UTF-8",
            Violation::Close(close::Invalid::HalfCode) => "close code incomplete",
            Violation::Close(close::Invalid::Code(_)) => "close code not allowed",
            Violation::Close(close::Invalid::Reason) => "close reason is not UTF-8",
        }
    }
}

impl From<frame::Violation> for Violation {
    fn from(violation: frame::Violation) -> Violation {
        Violation::Frame(violation)
    }
}

/// The receiving side of one connection.
///
/// A frame that lies whole in the input is unmasked where it lies and given back as part of the input:
/// nothing is copied or allocated. Only what a read cuts, and fragments, are copied, once, into a buffer
/// that grows with what has arrived.
///
/// A fragment costs its own bytes and a constant effort, and leaves nothing behind but its payload. So the bound on
/// their number guards no memory: it ends what no honest client does. (Autobahn 9.* sends 4 MiB in 65,536 fragments.)
#[derive(Default)]
pub struct Assembler {
    /// What exists only in the middle of a message or of a header. Invariant: none between messages, so an idle
    /// connection pays for a pointer.
    partial: Option<Box<Partial>>,
}

/// A message, or a control frame, that has not come whole.
struct Partial {
    /// The start of a header that the end of the input cut.
    head: [u8; CLIENT_HEADER_BYTES_MAX],
    /// How much of it there is. Invariant: 0 while a payload is being read.
    head_len: u8,
    /// The message that was begun; none if only a control frame is cut.
    message: Option<Kind>,
    /// Room for a header of [`FRONT`] bytes and its payload so far, unmasked. Invariant: empty without a message, and
    /// before the first byte of one.
    buffer: Vec<u8>,
    /// The frame whose payload is being read.
    frame: Option<Frame>,
    /// Fragments of the message that have begun.
    fragments: u32,
    /// Payload of a cut control frame, of which `control_len` bytes have come.
    control: [u8; CONTROL_BYTES_MAX],
    control_len: u8,
    /// Bytes at the end of the buffer that are given away to be read into. Invariant: 0 but between
    /// [`Assembler::room`] and [`Assembler::placed`].
    room: usize,
    /// What the last step gave away, to be freed by the next.
    delivered: Delivered,
}

/// The kinds of messages; text with the state of its validation.
#[derive(Clone, Copy)]
enum Kind {
    Text(Utf8),
    Binary,
}

/// The rest of a frame's payload.
#[derive(Clone, Copy)]
struct Frame {
    fin: bool,
    opcode: Opcode,
    key: [u8; 4],
    /// Bytes still to come.
    remaining: usize,
    /// Bytes that have come.
    taken: usize,
    /// Longest that the message can become, as far as headers tell.
    message_len_max: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Delivered {
    Nothing,
    Message,
    Control(Opcode),
}

/// What was completed, and where its payload lies.
enum Found {
    Nothing,
    /// In the input, from this index to the last consumed byte.
    InPlace(Opcode, usize),
    /// In the partial.
    Buffered,
}

impl Assembler {
    /// A connection on which nothing was received.
    #[must_use]
    pub fn new() -> Assembler {
        Assembler::default()
    }

    /// Whether the bytes so far end at the end of a message, with nothing kept.
    #[inline]
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.partial.is_none()
    }

    /// Bytes on the heap: at most `message_bytes_max` and a few hundred.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.partial.as_deref().map_or(0, |partial| size_of::<Partial>() + partial.buffer.capacity())
    }

    /// The payload that the last step delivered with [`FRONT`] bytes before it that mean nothing, so that it can
    /// become a frame without being copied. None if it lies in the input, or was taken.
    pub fn take_message(&mut self) -> Option<Vec<u8>> {
        let partial = self.partial.as_deref_mut()?;
        let taken = partial.delivered == Delivered::Message && !partial.buffer.is_empty();
        taken.then(|| std::mem::take(&mut partial.buffer))
    }

    /// Where the next bytes of input may be put instead of being given to [`Assembler::step`]: into the message that
    /// they continue, so that they need not be copied. None unless `least` bytes of the frame are still to come and
    /// have room in what is there; the frame does not end within less. After it comes [`Assembler::placed`], and
    /// nothing else.
    pub fn room(&mut self, least: usize) -> Option<&mut [u8]> {
        let partial = self.partial.as_deref_mut()?;
        debug_assert_eq!(partial.room, 0, "what was given is told of first");
        let frame = partial.frame.filter(|frame| !frame.opcode.is_control())?;
        let len = partial.buffer.len();
        let room = frame.remaining.min(partial.buffer.capacity() - len).min(ROOM_BYTES_MAX);
        if room < least || len == 0 {
            return None;
        }
        // Not needless: it fetches into the processor's caches what the kernel is about to write.
        partial.buffer.resize(len + room, 0);
        partial.room = room;
        partial.buffer.get_mut(len..)
    }

    /// So many bytes were put where [`Assembler::room`] said, which may be none. As [`Assembler::step`] with these as
    /// input, all of which is consumed.
    ///
    /// # Errors
    /// As [`Assembler::step`].
    pub fn placed(&mut self, count: usize) -> Result<Step<'_>, Violation> {
        let Some(partial) = self.partial.as_deref_mut() else { return Ok(Step::More) };
        let room = std::mem::take(&mut partial.room);
        debug_assert!(count <= room, "more than there was room for");
        let from = partial.buffer.len() - room;
        partial.buffer.truncate(from + count);
        let Some(mut frame) = partial.frame.take() else { return Ok(Step::More) };
        for piece in partial.buffer[from..].chunks_mut(PIECE_BYTES) {
            unmask(piece, frame.key, frame.taken);
            frame.taken += piece.len();
            check_text(&mut partial.message, piece)?;
        }
        if partial.go_on(frame, count)? { partial.deliver() } else { Ok(Step::More) }
    }

    /// Consumes from the front of `input` up to the end of one message or control frame, and says how many
    /// bytes that were. Call again with the rest until [`Step::More`]: only then is everything consumed,
    /// and what was delivered last freed.
    ///
    /// A message may have what `bounds` says.
    ///
    /// # Errors
    /// The client broke the protocol. Which violation, and what was delivered before it, does not depend on
    /// how the bytes were cut. Feed no more, and drop the assembler with its buffers.
    #[inline]
    pub fn step<'a>(
        &'a mut self,
        input: &'a mut [u8],
        bounds: impl Into<Bounds>,
        spares: &mut Buffers,
    ) -> Result<(usize, Step<'a>), Violation> {
        let bounds = bounds.into();
        // The end of most reads: everything was used up, and nothing is kept.
        if input.is_empty() && self.is_idle() {
            return Ok((0, Step::More));
        }
        // The hot path: nothing is kept, and one frame that is a message by itself lies whole in the input.
        // Only a shortcut: without it the path below would give the same.
        if self.is_idle()
            && let Ok(Some((header, at))) = frame::read(input)
            && stands_alone(&header)
            && header.payload_len <= (input.len() - at) as u64
            && (header.payload_len <= bounds.bytes as u64 || header.opcode.is_control())
        {
            #[expect(clippy::cast_possible_truncation, reason = "not above input.len()")]
            let used = at + header.payload_len as usize;
            let payload = &mut input[at..used];
            unmask(payload, header.key, 0);
            return Ok((used, whole(header.opcode, payload)?));
        }
        self.step_in_pieces(input, bounds, spares)
    }

    /// [`Assembler::step`] for whatever the ends of input cut, for fragments, and for violations.
    #[inline(never)]
    fn step_in_pieces<'a>(
        &'a mut self,
        input: &'a mut [u8],
        bounds: Bounds,
        spares: &mut Buffers,
    ) -> Result<(usize, Step<'a>), Violation> {
        self.release(spares);
        let (used, found) = self.advance(input, bounds, spares)?;
        let step = match found {
            Found::Nothing => Step::More,
            Found::InPlace(opcode, from) => whole(opcode, &mut input[from..used])?,
            Found::Buffered => {
                let partial = self.partial.as_deref_mut().expect("advance found it there");
                partial.deliver()?
            }
        };
        Ok((used, step))
    }

    /// Frees what the step before delivered; the next step does so by itself.
    pub fn release(&mut self, spares: &mut Buffers) {
        if let Some(partial) = self.partial.as_deref_mut() {
            partial.release(spares);
        }
        self.drop_unneeded();
    }

    fn drop_unneeded(&mut self) {
        if self.partial.as_deref().is_some_and(Partial::is_empty) {
            self.partial = None;
        }
    }

    fn advance(
        &mut self,
        input: &mut [u8],
        bounds: Bounds,
        spares: &mut Buffers,
    ) -> Result<(usize, Found), Violation> {
        let mut at = 0;
        loop {
            if !self.is_in_payload() {
                let (used, header) = self.take_header(&input[at..])?;
                at += used;
                let Some(header) = header else {
                    debug_assert_eq!(at, input.len(), "a header waits only for input");
                    return Ok((at, Found::Nothing));
                };
                let payload_len = self.admit(&header, bounds)?;
                if stands_alone(&header) && payload_len <= input.len() - at {
                    let end = at + payload_len;
                    unmask(&mut input[at..end], header.key, 0);
                    return Ok((end, Found::InPlace(header.opcode, at)));
                }
                self.begin(&header, payload_len, bounds.bytes);
            }
            let partial = self.partial.get_or_insert_default();
            let (used, is_complete) = partial.take(&mut input[at..], bounds.bytes, spares)?;
            at += used;
            if is_complete {
                return Ok((at, Found::Buffered));
            }
            if partial.frame.is_some() {
                debug_assert_eq!(at, input.len(), "a payload waits only for input");
                return Ok((at, Found::Nothing));
            }
        }
    }

    fn is_in_payload(&self) -> bool {
        self.partial.as_deref().is_some_and(|partial| partial.frame.is_some())
    }

    /// Reads a header from what was kept of it and `input`. Without a header, all of `input` is consumed.
    fn take_header(&mut self, input: &[u8]) -> Result<(usize, Option<Header>), Violation> {
        if self.partial.as_deref().is_none_or(|partial| partial.head_len == 0)
            && let Some((header, used)) = frame::read(input)?
        {
            return Ok((used, Some(header)));
        }
        if input.is_empty() {
            return Ok((0, None));
        }
        self.join_header(input)
    }

    /// As [`Assembler::take_header`], for a header that some end of input has cut.
    fn join_header(&mut self, input: &[u8]) -> Result<(usize, Option<Header>), Violation> {
        let partial = self.partial.get_or_insert_default();
        let kept = usize::from(partial.head_len);
        let new = input.len().min(CLIENT_HEADER_BYTES_MAX - kept);
        partial.head[kept..kept + new].copy_from_slice(&input[..new]);
        if let Some((header, head_len)) = frame::read(&partial.head[..kept + new])? {
            debug_assert!(head_len > kept, "what was kept was no header yet");
            partial.head_len = 0;
            self.drop_unneeded();
            return Ok((head_len - kept, Some(header)));
        }
        debug_assert_eq!(new, input.len(), "{CLIENT_HEADER_BYTES_MAX} bytes are always a header");
        #[expect(clippy::cast_possible_truncation, reason = "at most CLIENT_HEADER_BYTES_MAX")]
        {
            partial.head_len = (kept + new) as u8;
        }
        Ok((new, None))
    }

    /// Whether this frame may come now; its payload's length.
    fn admit(&self, header: &Header, bounds: Bounds) -> Result<usize, Violation> {
        // §5.4 "Control frames […] MAY be injected in the middle of a fragmented message."
        if header.opcode.is_control() {
            return usize::try_from(header.payload_len).map_err(|_| Violation::TooBig);
        }
        // §5.4 "A fragmented message consists of a single frame with the FIN bit clear and an opcode other
        // than 0, followed by zero or more frames with the FIN bit clear and the opcode set to 0, and
        // terminated by a single frame with the FIN bit set and an opcode of 0."
        let begun = self.partial.as_deref().filter(|partial| partial.message.is_some());
        let room = match (header.opcode == Opcode::Continuation, begun) {
            (true, None) => return Err(Violation::StrayContinuation),
            (false, Some(_)) => return Err(Violation::UnfinishedMessage),
            (_, Some(partial)) if partial.fragments >= bounds.fragments => {
                return Err(Violation::TooManyFragments);
            }
            (_, Some(partial)) => bounds.bytes.saturating_sub(partial.len()),
            (_, None) => bounds.bytes,
        };
        // §10.4 "Such an implementation SHOULD impose a limit on frame sizes and the total message size after
        // reassembly from multiple frames": on what is declared, before a byte of it is kept.
        usize::try_from(header.payload_len).ok().filter(|len| *len <= room).ok_or(Violation::TooBig)
    }

    /// Prepares for a payload that cannot be given back in place.
    fn begin(&mut self, header: &Header, payload_len: usize, message_bytes_max: usize) {
        let partial = self.partial.get_or_insert_default();
        debug_assert!(partial.frame.is_none() && partial.delivered == Delivered::Nothing);
        match header.opcode {
            Opcode::Text => partial.message = Some(Kind::Text(Utf8::new())),
            Opcode::Binary => partial.message = Some(Kind::Binary),
            Opcode::Continuation | Opcode::Close | Opcode::Ping | Opcode::Pong => {}
        }
        match header.opcode {
            Opcode::Text | Opcode::Binary => partial.fragments = 1,
            Opcode::Continuation => partial.fragments = partial.fragments.saturating_add(1),
            Opcode::Close | Opcode::Ping | Opcode::Pong => {}
        }
        let message_len_max = if header.fin { partial.len() + payload_len } else { message_bytes_max };
        partial.frame = Some(Frame {
            fin: header.fin,
            opcode: header.opcode,
            key: header.key,
            remaining: payload_len,
            taken: 0,
            message_len_max,
        });
    }
}

/// The payload in a buffer that is empty or begins with [`FRONT`] bytes of something else.
fn after_front(buffer: &mut [u8]) -> &mut [u8] {
    buffer.get_mut(FRONT..).unwrap_or_default()
}

/// Checks the next piece of a message, if it is text.
fn check_text(message: &mut Option<Kind>, piece: &[u8]) -> Result<(), Violation> {
    // §8.1 "When an endpoint is to interpret a byte stream as UTF-8 but finds that the byte stream is
    // not, in fact, a valid UTF-8 stream, that endpoint MUST _Fail the WebSocket Connection_."
    match message {
        Some(Kind::Text(utf8)) => utf8.push(piece).map_err(|_| Violation::Text),
        Some(Kind::Binary) | None => Ok(()),
    }
}

/// Whether the frame is a message, or a control frame, by itself.
#[inline]
fn stands_alone(header: &Header) -> bool {
    header.fin && header.opcode != Opcode::Continuation
}

/// A frame that lies whole in the input, as a step.
#[inline]
fn whole(opcode: Opcode, payload: &mut [u8]) -> Result<Step<'_>, Violation> {
    match opcode {
        // §5.6 "a particular text frame might include a partial UTF-8 sequence; however, the whole message
        // MUST contain valid UTF-8."
        Opcode::Text if utf8::is_valid(payload) => Ok(Step::Text(payload)),
        Opcode::Text => Err(Violation::Text),
        // A continuation does not stand alone, so it never comes here.
        Opcode::Binary | Opcode::Continuation => Ok(Step::Binary(payload)),
        _ => control(opcode, payload),
    }
}

fn control(opcode: Opcode, payload: &[u8]) -> Result<Step<'_>, Violation> {
    match opcode {
        Opcode::Ping => Ok(Step::Ping(payload)),
        Opcode::Pong => Ok(Step::Pong(payload)),
        _ => close::read(payload).map(Step::Close).map_err(Violation::Close),
    }
}

impl Default for Partial {
    fn default() -> Partial {
        Partial {
            head: [0; CLIENT_HEADER_BYTES_MAX],
            head_len: 0,
            message: None,
            buffer: Vec::new(),
            frame: None,
            fragments: 0,
            control: [0; CONTROL_BYTES_MAX],
            control_len: 0,
            room: 0,
            delivered: Delivered::Nothing,
        }
    }
}

impl Partial {
    /// Bytes of the message so far.
    fn len(&self) -> usize {
        self.buffer.len().saturating_sub(FRONT)
    }

    /// Whether it keeps nothing that is still needed.
    fn is_empty(&self) -> bool {
        self.head_len == 0 && self.message.is_none() && self.frame.is_none()
    }

    /// Takes payload from the front of `input`: how many bytes, and whether that completed something.
    fn take(
        &mut self,
        input: &mut [u8],
        message_bytes_max: usize,
        spares: &mut Buffers,
    ) -> Result<(usize, bool), Violation> {
        let Some(mut frame) = self.frame.take() else { return Ok((0, false)) };
        let used = frame.remaining.min(input.len());
        if !frame.opcode.is_control() {
            let needed = FRONT + self.len() + used;
            let spare_max = needed.saturating_mul(SPARE_GROWTH).min(FRONT + message_bytes_max);
            self.make_room(needed, FRONT + frame.message_len_max, |least| {
                spares.take_long(least..=spare_max)
            });
        }
        for piece in input[..used].chunks_mut(PIECE_BYTES) {
            unmask(piece, frame.key, frame.taken);
            frame.taken += piece.len();
            if frame.opcode.is_control() {
                self.keep_control(piece);
            } else {
                self.keep(piece)?;
            }
        }
        Ok((used, self.go_on(frame, used)?))
    }

    /// After so many more bytes of the frame's payload: whether that completed something.
    fn go_on(&mut self, mut frame: Frame, used: usize) -> Result<bool, Violation> {
        frame.remaining -= used;
        if frame.remaining > 0 {
            self.frame = Some(frame);
            return Ok(false);
        }
        if frame.opcode.is_control() {
            self.delivered = Delivered::Control(frame.opcode);
        } else if frame.fin {
            if let Some(Kind::Text(utf8)) = self.message {
                utf8.finish().map_err(|_| Violation::Text)?;
            }
            self.delivered = Delivered::Message;
        }
        Ok(self.delivered != Delivered::Nothing)
    }

    fn keep_control(&mut self, piece: &[u8]) {
        let start = usize::from(self.control_len);
        self.control[start..start + piece.len()].copy_from_slice(piece);
        #[expect(clippy::cast_possible_truncation, reason = "at most CONTROL_BYTES_MAX, as the slice held")]
        {
            self.control_len += piece.len() as u8;
        }
    }

    /// Makes room for a message and its front of `needed` bytes, which can become `bytes_max` long.
    fn make_room(&mut self, needed: usize, bytes_max: usize, spare: impl FnOnce(usize) -> Option<Vec<u8>>) {
        if needed > self.buffer.capacity() {
            // Growing by a factor keeps the copies below a part of one more per byte, however small the pieces; the
            // ceiling keeps the last step from asking for more than can come.
            let grown = needed.saturating_mul(GROWTH).max(BUFFER_BYTES_MIN);
            let capacity = grown.min(bytes_max).max(needed);
            if let Some(mut larger) = spare(capacity) {
                larger.extend_from_slice(&self.buffer);
                self.buffer = larger;
            } else {
                self.buffer.reserve_exact(capacity - self.buffer.len());
            }
        }
        if self.buffer.is_empty() {
            self.buffer.resize(FRONT, 0);
        }
    }

    /// Appends to the message, for which there is room.
    fn keep(&mut self, piece: &[u8]) -> Result<(), Violation> {
        check_text(&mut self.message, piece)?;
        self.buffer.extend_from_slice(piece);
        Ok(())
    }

    fn deliver(&mut self) -> Result<Step<'_>, Violation> {
        match (self.delivered, self.message) {
            (Delivered::Control(opcode), _) => {
                control(opcode, &self.control[..usize::from(self.control_len)])
            }
            (Delivered::Message, Some(Kind::Text(_))) => Ok(Step::Text(after_front(&mut self.buffer))),
            (Delivered::Message, _) => Ok(Step::Binary(after_front(&mut self.buffer))),
            (Delivered::Nothing, _) => Ok(Step::More),
        }
    }

    fn release(&mut self, spares: &mut Buffers) {
        match self.delivered {
            Delivered::Nothing => {}
            Delivered::Control(_) => self.control_len = 0,
            Delivered::Message => {
                self.message = None;
                spares.give(std::mem::take(&mut self.buffer));
            }
        }
        self.delivered = Delivered::Nothing;
    }
}

#[cfg(test)]
mod tests;
