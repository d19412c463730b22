//! Request bodies: bytes that come in any pieces, plain or in chunks, become one body under a cap.
//!
//! What a client says of its length is never allocated for, only what has come. Chunks are read as strictly as heads
//! are (RFC 9112 §7.1): what proxies could read in two ways is refused. Extensions and trailers are read over, and
//! mean nothing here.
//!
//! ```text
//! 1a;name=value CR LF      size in at most SIZE_DIGITS_MAX digits, line of at most LINE_BYTES_MAX
//! ‹26 bytes› CR LF
//! 0 CR LF
//! Name: value CR LF        trailers of at most TRAILER_BYTES_MAX in all
//! CR LF
//! ```

use crate::wire::http::head::Body;

/// Hexadecimal digits of a chunk's size, leading zeros included: 4 GiB, more than any cap.
const SIZE_DIGITS_MAX: u32 = 8;
/// Longest line before a chunk, without its line end: nobody uses extensions.
const LINE_BYTES_MAX: u32 = 256;
/// All trailers together, line ends included.
const TRAILER_BYTES_MAX: u32 = 2048;

/// Why a body is refused; the connection is then to be answered and closed, as nobody knows where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// More bytes than the cap.
    TooLong,
    /// The size of a chunk is no number of at most 8 hexadecimal digits.
    ChunkSize,
    /// A chunk's line or data without CR LF behind it, or a control character in a line.
    LineEnd,
    /// A chunk's line, or the trailers, are too long.
    LineTooLong,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The body itself, of which so many bytes are missing; nothing follows.
    Plain { missing: usize },
    /// The size of a chunk, of which so many digits have come.
    Size { size: usize, digits: u32 },
    /// What follows the size in its line.
    Extension { size: usize, length: u32 },
    /// The LF behind the size.
    SizeEnd { size: usize },
    /// A chunk, of which so many bytes are missing.
    Chunk { missing: usize },
    /// The CR behind a chunk.
    ChunkCr,
    /// The LF behind a chunk.
    ChunkLf,
    /// A line of the trailers: bytes of it, and of all trailers.
    Trailer { line: u32, all: u32 },
    /// The LF behind a line of the trailers.
    TrailerEnd { line: u32, all: u32 },
    /// All has come.
    Done,
}

/// Collects one body.
#[derive(Debug)]
pub struct BodyReader {
    /// Invariant: at most `max` long.
    held: Vec<u8>,
    max: usize,
    state: State,
}

impl BodyReader {
    /// A reader of the body that a head announces, of at most `max` bytes; allocates nothing.
    ///
    /// # Errors
    /// The announced length is more than that.
    pub fn new(body: Body, max: usize) -> Result<BodyReader, BodyError> {
        let state = match body {
            Body::None => State::Done,
            Body::Length(length) => match usize::try_from(length) {
                Ok(missing) if missing <= max => State::Plain { missing },
                _ => return Err(BodyError::TooLong),
            },
            Body::Chunked => State::Size { size: 0, digits: 0 },
        };
        Ok(BodyReader { held: Vec::new(), max, state })
    }

    /// The body, if it is the beginning of `input` just as it stands: then nothing needs to be copied. Only before the
    /// first [`BodyReader::read`].
    #[must_use]
    pub fn whole<'a>(&self, input: &'a [u8]) -> Option<&'a [u8]> {
        match self.state {
            State::Done if self.held.is_empty() => Some(&[]),
            State::Plain { missing } if self.held.is_empty() => input.get(..missing),
            _ => None,
        }
    }

    /// Whether all has come.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes what was read from the socket; returns how many bytes of it belong to the body. If that is not all of
    /// `input`, the body is done and the rest is the next request. Any split of the same bytes gives the same body,
    /// in time linear in the bytes.
    ///
    /// # Errors
    /// At the first byte that breaks a rule.
    pub fn read(&mut self, input: &[u8]) -> Result<usize, BodyError> {
        let mut used = 0;
        while let Some(&byte) = input.get(used)
            && self.state != State::Done
        {
            match self.state {
                State::Plain { missing } => {
                    let count = self.take(&input[used..], missing)?;
                    used += count;
                    let missing = missing - count;
                    self.state = if missing == 0 { State::Done } else { State::Plain { missing } };
                }
                State::Chunk { missing } => {
                    let count = self.take(&input[used..], missing)?;
                    used += count;
                    let missing = missing - count;
                    self.state = if missing == 0 { State::ChunkCr } else { State::Chunk { missing } };
                }
                _ => {
                    self.state = self.step(byte)?;
                    used += 1;
                }
            }
        }
        Ok(used)
    }

    /// The body, once it is done.
    #[must_use]
    pub fn into_body(self) -> Vec<u8> {
        debug_assert!(self.is_done(), "half a body is none");
        self.held
    }

    fn take(&mut self, input: &[u8], missing: usize) -> Result<usize, BodyError> {
        let count = input.len().min(missing);
        if self.held.len() + count > self.max {
            return Err(BodyError::TooLong);
        }
        self.held.extend_from_slice(&input[..count]);
        Ok(count)
    }

    /// What `byte`, which is not of the body itself, makes of the state.
    fn step(&self, byte: u8) -> Result<State, BodyError> {
        if let State::Size { size, digits } = self.state
            && let Some(digit) = char::from(byte).to_digit(16)
            && digits < SIZE_DIGITS_MAX
        {
            return Ok(State::Size { size: size << 4 | digit as usize, digits: digits + 1 });
        }
        match (self.state, byte) {
            (State::Size { digits: 0, .. }, _) => Err(BodyError::ChunkSize),
            (State::Size { size, .. }, b';') => Ok(State::Extension { size, length: 0 }),
            (State::Size { size, .. } | State::Extension { size, .. }, b'\r') => Ok(State::SizeEnd { size }),
            (State::Size { .. }, _) => Err(BodyError::ChunkSize),
            (State::Extension { .. } | State::Trailer { .. }, ..=8 | 10..=12 | 14..=31 | 127) => {
                Err(BodyError::LineEnd)
            }
            (State::Extension { length: LINE_BYTES_MAX, .. }, _) => Err(BodyError::LineTooLong),
            (State::Extension { size, length }, _) => Ok(State::Extension { size, length: length + 1 }),
            (State::SizeEnd { size: 0 }, b'\n') => Ok(State::Trailer { line: 0, all: 0 }),
            (State::SizeEnd { size }, b'\n') if size > self.max - self.held.len() => Err(BodyError::TooLong),
            (State::SizeEnd { size }, b'\n') => Ok(State::Chunk { missing: size }),
            (State::ChunkCr, b'\r') => Ok(State::ChunkLf),
            (State::ChunkLf, b'\n') => Ok(State::Size { size: 0, digits: 0 }),
            (State::Trailer { all, .. }, _) if all >= TRAILER_BYTES_MAX => Err(BodyError::LineTooLong),
            (State::Trailer { line, all }, b'\r') => Ok(State::TrailerEnd { line, all: all + 1 }),
            (State::Trailer { line, all }, _) => Ok(State::Trailer { line: line + 1, all: all + 1 }),
            (State::TrailerEnd { line: 0, .. }, b'\n') => Ok(State::Done),
            (State::TrailerEnd { all, .. }, b'\n') => Ok(State::Trailer { line: 0, all: all + 1 }),
            (State::SizeEnd { .. } | State::ChunkCr | State::ChunkLf | State::TrailerEnd { .. }, _) => {
                Err(BodyError::LineEnd)
            }
            (State::Plain { .. } | State::Chunk { .. } | State::Done, _) => {
                debug_assert!(false, "these take no single bytes");
                Ok(self.state)
            }
        }
    }
}

#[cfg(test)]
mod tests;
