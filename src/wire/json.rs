//! JSON, RFC 8259: a skimmer that validates a whole text and yields the spans of its top-level fields or members,
//! and the few writers that answers need.
//!
//! It builds no tree, recurses nowhere, allocates nothing and reads every byte once: values are passed on as
//! the bytes that came, so most of them are never looked into.
//!
//! Stricter than the grammar in two places: nesting deeper than [`DEPTH_MAX`], and `\u` escapes that name half
//! of a surrogate pair (no UTF-8 text can hold what they mean) are refused. Laxer than many readers in two:
//! numbers have no range (they are relayed, not computed with), and a field may come twice (each is yielded, in
//! order; whoever collects them lets the last win, as JavaScript and Python do).

use std::borrow::Cow;

use memchr::memchr;

/// Deepest nesting of objects and arrays, the outermost object included. One bit each is kept of them; real
/// documents stay below 50.
pub const DEPTH_MAX: u32 = u128::BITS;

/// Why a text is not one JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// The text ends before the object does.
    Ended,
    /// A byte that the grammar does not allow there; also anything behind the object, or no object at all.
    Unexpected,
    /// A control character inside a string (RFC 8259 section 7: "MUST be escaped").
    Control,
    /// A backslash and then none of `"\/bfnrt` or `u` with four hexadecimal digits.
    Escape,
    /// An escape of half a surrogate pair.
    LoneSurrogate,
    /// More than [`DEPTH_MAX`] objects and arrays inside each other.
    TooDeep,
}

/// What a value is, told by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `"…"`
    String,
    /// `-12.5e3`
    Number,
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `true`
    True,
    /// `false`
    False,
    /// `null`
    Null,
}

/// A valid value. Only the skimmer makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    raw: &'a str,
    kind: Kind,
    /// Whether it is a string that holds a backslash.
    escaped: bool,
}

impl<'a> Value<'a> {
    /// The text as it came, without blanks around it.
    #[must_use]
    pub fn raw(self) -> &'a str {
        self.raw
    }

    /// What it is.
    #[must_use]
    pub fn kind(self) -> Kind {
        self.kind
    }

    /// What a string means; none for other kinds. Borrows unless something is escaped.
    #[must_use]
    pub fn text(self) -> Option<Cow<'a, str>> {
        match self.kind {
            Kind::String => Some(meaning(&self.raw[1..self.raw.len() - 1], self.escaped)),
            _ => None,
        }
    }

    /// A number that is written as digits only and fits; none for all else (`-1`, `1.0`, `1e2`, `"1"`).
    #[must_use]
    pub fn integer(self) -> Option<u64> {
        match self.kind {
            Kind::Number => self.raw.parse().ok(),
            _ => None,
        }
    }

    /// `true` or `false`; none for other kinds.
    #[must_use]
    pub fn boolean(self) -> Option<bool> {
        match self.kind {
            Kind::True => Some(true),
            Kind::False => Some(false),
            _ => None,
        }
    }
}

/// The name of a field. Only the skimmer makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    raw: &'a str,
    escaped: bool,
}

impl<'a> Name<'a> {
    /// The text as it came, without the quotes: what it means, unless it holds a backslash.
    #[must_use]
    pub fn raw(self) -> &'a str {
        self.raw
    }

    /// What it means.
    #[must_use]
    pub fn text(self) -> Cow<'a, str> {
        meaning(self.raw, self.escaped)
    }
}

/// Validates `text`, which must be one object with nothing but blanks around it, and gives each of its fields
/// to `each`, in order. Of a text that turns out invalid, the fields before the fault have been given already.
///
/// # Errors
/// Says what is wrong with `text`.
pub fn object<'a>(text: &'a str, mut each: impl FnMut(Name<'a>, Value<'a>)) -> Result<(), Invalid> {
    let skim = Skimmer { bytes: text.as_bytes() };
    let mut at = skim.demand(skim.blanks(0), b'{')?;
    at = skim.blanks(at);
    if skim.byte(at)? == b'}' {
        at += 1;
    } else {
        loop {
            let start = at;
            let mut escaped = false;
            at = skim.string(skim.demand(at, b'"')?, &mut escaped)?;
            let name = Name { raw: &text[start + 1..at - 1], escaped };
            at = skim.colon(at)?;
            let start = at;
            let (end, kind, escaped) = skim.value(start)?;
            at = skim.blanks(end);
            each(name, Value { raw: &text[start..end], kind, escaped });
            match skim.byte(at)? {
                b',' => at = skim.blanks(at + 1),
                b'}' => break at += 1,
                _ => return Err(Invalid::Unexpected),
            }
        }
    }
    if skim.blanks(at) == text.len() { Ok(()) } else { Err(Invalid::Unexpected) }
}

/// Validates `text`, which must be one value of any kind with nothing but blanks around it.
///
/// # Errors
/// Says what is wrong with `text`.
pub fn value(text: &str) -> Result<Value<'_>, Invalid> {
    let skim = Skimmer { bytes: text.as_bytes() };
    let start = skim.blanks(0);
    let (end, kind, escaped) = skim.value(start)?;
    if skim.blanks(end) != text.len() {
        return Err(Invalid::Unexpected);
    }
    Ok(Value { raw: &text[start..end], kind, escaped })
}

/// Validates `text`, which must be one array with nothing but blanks around it, and gives each of its members to
/// `each`, as [`object`] does with fields.
///
/// # Errors
/// Says what is wrong with `text`.
pub fn array<'a>(text: &'a str, mut each: impl FnMut(Value<'a>)) -> Result<(), Invalid> {
    let skim = Skimmer { bytes: text.as_bytes() };
    let mut at = skim.blanks(skim.demand(skim.blanks(0), b'[')?);
    if skim.byte(at)? == b']' {
        at += 1;
    } else {
        loop {
            let start = at;
            let (end, kind, escaped) = skim.value(start)?;
            each(Value { raw: &text[start..end], kind, escaped });
            at = skim.blanks(end);
            match skim.byte(at)? {
                b',' => at = skim.blanks(at + 1),
                b']' => break at += 1,
                _ => return Err(Invalid::Unexpected),
            }
        }
    }
    if skim.blanks(at) == text.len() { Ok(()) } else { Err(Invalid::Unexpected) }
}

/// The objects and arrays that are open: one bit each, the innermost lowest, set for objects.
struct Open {
    objects: u128,
    depth: u32,
}

impl Open {
    fn push(&mut self, object: bool) -> Result<(), Invalid> {
        // The outermost object is not on this stack, but counts.
        if self.depth + 1 == DEPTH_MAX {
            return Err(Invalid::TooDeep);
        }
        self.objects = self.objects << 1 | u128::from(object);
        self.depth += 1;
        Ok(())
    }

    fn pop(&mut self) {
        debug_assert!(self.depth > 0, "only what is open is closed");
        self.objects >>= 1;
        self.depth -= 1;
    }

    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }
}

/// Every method takes the place where its token begins (or goes on) and returns the place behind it, so that the
/// place stays in a register. Places are at most the length and, between tokens, on a character's boundary (tokens
/// are ASCII).
#[derive(Clone, Copy)]
struct Skimmer<'a> {
    bytes: &'a [u8],
}

impl Skimmer<'_> {
    #[inline(always)]
    fn byte(self, at: usize) -> Result<u8, Invalid> {
        self.bytes.get(at).copied().ok_or(Invalid::Ended)
    }

    #[inline(always)]
    fn demand(self, at: usize, wanted: u8) -> Result<usize, Invalid> {
        if self.byte(at)? == wanted { Ok(at + 1) } else { Err(Invalid::Unexpected) }
    }

    #[inline(always)]
    fn blanks(self, mut at: usize) -> usize {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(at) {
            at += 1;
        }
        at
    }

    /// The colon between a name and its value, with the blanks around it.
    #[inline(always)]
    fn colon(self, at: usize) -> Result<usize, Invalid> {
        Ok(self.blanks(self.demand(self.blanks(at), b':')?))
    }

    /// A value of any kind; also says what it is, and whether it is a string with escapes.
    #[inline]
    fn value(self, at: usize) -> Result<(usize, Kind, bool), Invalid> {
        let mut escaped = false;
        let (end, kind) = match self.byte(at)? {
            b'"' => (self.string(at + 1, &mut escaped)?, Kind::String),
            b'{' => (self.nested(at)?, Kind::Object),
            b'[' => (self.nested(at)?, Kind::Array),
            b't' => (self.scalar(at)?, Kind::True),
            b'f' => (self.scalar(at)?, Kind::False),
            b'n' => (self.scalar(at)?, Kind::Null),
            _ => (self.scalar(at)?, Kind::Number),
        };
        Ok((end, kind, escaped))
    }

    /// An object or array with all that is in it.
    #[inline(never)]
    fn nested(self, mut at: usize) -> Result<usize, Invalid> {
        let mut open = Open { objects: 0, depth: 0 };
        loop {
            // Here a value begins.
            match self.byte(at)? {
                b'{' => {
                    open.push(true)?;
                    at = self.blanks(at + 1);
                    if self.byte(at)? != b'}' {
                        at = self.name(at)?;
                        continue;
                    }
                    at += 1;
                    open.pop();
                }
                b'[' => {
                    open.push(false)?;
                    at = self.blanks(at + 1);
                    if self.byte(at)? != b']' {
                        continue;
                    }
                    at += 1;
                    open.pop();
                }
                _ => at = self.scalar(at)?,
            }
            // Here one has ended.
            loop {
                if open.depth == 0 {
                    return Ok(at);
                }
                at = self.blanks(at);
                let byte = self.byte(at)?;
                at += 1;
                match (byte, open.in_object()) {
                    (b',', true) => {
                        at = self.name(self.blanks(at))?;
                        break;
                    }
                    (b',', false) => {
                        at = self.blanks(at);
                        break;
                    }
                    (b'}', true) | (b']', false) => open.pop(),
                    _ => return Err(Invalid::Unexpected),
                }
            }
        }
    }

    /// The name of a field that nobody asks for, with its colon.
    #[inline(always)]
    fn name(self, at: usize) -> Result<usize, Invalid> {
        self.colon(self.string(self.demand(at, b'"')?, &mut false)?)
    }

    #[inline(always)]
    fn scalar(self, at: usize) -> Result<usize, Invalid> {
        match self.byte(at)? {
            b'"' => self.string(at + 1, &mut false),
            b'-' => self.number(at + 1),
            b't' => self.literal(at + 1, b"rue"),
            b'f' => self.literal(at + 1, b"alse"),
            b'n' => self.literal(at + 1, b"ull"),
            _ => self.number(at),
        }
    }

    /// What follows the opening quote, up to and including the closing one.
    #[inline]
    fn string(self, at: usize, escaped: &mut bool) -> Result<usize, Invalid> {
        let end = at + plain_run(&self.bytes[at..]);
        if self.byte(end)? == b'"' {
            return Ok(end + 1);
        }
        self.string_with_escapes(end, escaped)
    }

    /// [`Skimmer::string`] from its first byte on that does not stand for itself.
    #[inline(never)]
    fn string_with_escapes(self, mut at: usize, escaped: &mut bool) -> Result<usize, Invalid> {
        loop {
            match self.byte(at)? {
                b'"' => return Ok(at + 1),
                b'\\' => at += 1 + escape(&self.bytes[at + 1..])?.1,
                _ => return Err(Invalid::Control),
            }
            *escaped = true;
            at += plain_run(&self.bytes[at..]);
        }
    }

    /// RFC 8259 section 6, from the first digit on: a zero stands alone, a point or exponent has digits.
    #[inline]
    fn number(self, at: usize) -> Result<usize, Invalid> {
        let mut at = match self.byte(at)? {
            b'0' => at + 1,
            b'1'..=b'9' => self.more_digits(at + 1),
            _ => return Err(Invalid::Unexpected),
        };
        if self.bytes.get(at) == Some(&b'.') {
            at = self.digits(at + 1)?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(at) {
            at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(at) {
                at += 1;
            }
            at = self.digits(at)?;
        }
        Ok(at)
    }

    #[inline(always)]
    fn digits(self, at: usize) -> Result<usize, Invalid> {
        if !self.byte(at)?.is_ascii_digit() {
            return Err(Invalid::Unexpected);
        }
        Ok(self.more_digits(at + 1))
    }

    #[inline(always)]
    fn more_digits(self, mut at: usize) -> usize {
        while self.bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    }

    /// The rest of `true`, `false` or `null`.
    #[inline(always)]
    fn literal(self, mut at: usize, rest: &[u8]) -> Result<usize, Invalid> {
        for &byte in rest {
            at = self.demand(at, byte)?;
        }
        Ok(at)
    }
}

/// Bytes of a string that are looked at in words, before whole blocks are worth it.
const NEAR_BYTES: usize = 64;

/// How many bytes at the start of `bytes` stand for themselves in a string: none of `"`, `\` and U+0000–U+001F.
#[inline]
fn plain_run(bytes: &[u8]) -> usize {
    let Some((near, far)) = bytes.split_first_chunk::<NEAR_BYTES>() else { return plain_run_by_words(bytes) };
    let run = plain_run_by_words(near);
    if run < NEAR_BYTES { run } else { NEAR_BYTES + plain_run_by_blocks(far) }
}

/// [`plain_run`] for long strings: the compiler turns the look at a block into vector instructions.
#[inline(never)]
fn plain_run_by_blocks(bytes: &[u8]) -> usize {
    let (blocks, _) = bytes.as_chunks::<NEAR_BYTES>();
    let is_plain = |block: &&[u8; NEAR_BYTES]| {
        let special = |byte: &u8| (*byte < 0x20) | (*byte == b'"') | (*byte == b'\\');
        !block.iter().fold(false, |found, byte| found | special(byte))
    };
    let plain = blocks.iter().take_while(is_plain).count() * NEAR_BYTES;
    plain + plain_run_by_words(&bytes[plain..])
}

/// [`plain_run`] eight bytes at a time.
///
/// In each term a byte's top bit comes out set if the byte is special, or if a borrow came from a lower byte that
/// is; so the lowest bit set is always true, and only that one is used. Bytes from 0x80 up (the inside of UTF-8) are
/// masked away.
#[inline]
fn plain_run_by_words(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quote = (word ^ (ONES * 0x22)).wrapping_sub(ONES);
        let backslash = (word ^ (ONES * 0x5c)).wrapping_sub(ONES);
        let control = word.wrapping_sub(ONES * 0x20);
        let found = (quote | backslash | control) & !word & (ONES * 0x80);
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    bytes.len() - tail.len() + plain_run_bytewise(tail)
}

/// [`plain_run`] one byte at a time.
#[inline]
fn plain_run_bytewise(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\').unwrap_or(bytes.len())
}

/// The character that an escape stands for, and how many bytes it takes up; `bytes` begins behind the backslash.
fn escape(bytes: &[u8]) -> Result<(char, usize), Invalid> {
    let char = match bytes.first().ok_or(Invalid::Ended)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return escape_unicode(&bytes[1..]),
        _ => return Err(Invalid::Escape),
    };
    Ok((char, 1))
}

/// [`escape`], behind the `u`: four digits, or four, `\u` and four for a character beyond U+FFFF.
fn escape_unicode(bytes: &[u8]) -> Result<(char, usize), Invalid> {
    let high = hex4(bytes)?;
    if let Some(char) = char::from_u32(high) {
        return Ok((char, 5));
    }
    if high >= 0xdc00 {
        return Err(Invalid::LoneSurrogate);
    }
    for (index, wanted) in [(4, b'\\'), (5, b'u')] {
        if *bytes.get(index).ok_or(Invalid::Ended)? != wanted {
            return Err(Invalid::LoneSurrogate);
        }
    }
    let low = hex4(&bytes[6..])?;
    if !(0xdc00..=0xdfff).contains(&low) {
        return Err(Invalid::LoneSurrogate);
    }
    let char = char::from_u32(0x1_0000 + ((high - 0xd800) << 10 | (low - 0xdc00))).ok_or(Invalid::Escape)?;
    Ok((char, 11))
}

fn hex4(bytes: &[u8]) -> Result<u32, Invalid> {
    let mut number = 0;
    for index in 0..4 {
        let byte = *bytes.get(index).ok_or(Invalid::Ended)?;
        number = number << 4 | char::from(byte).to_digit(16).ok_or(Invalid::Escape)?;
    }
    Ok(number)
}

/// What the inside of a valid string means.
#[inline]
fn meaning(raw: &str, escaped: bool) -> Cow<'_, str> {
    if escaped { unescape(raw) } else { Cow::Borrowed(raw) }
}

fn unescape(raw: &str) -> Cow<'_, str> {
    let mut rest = raw;
    let mut text = String::new();
    while let Some(at) = memchr(b'\\', rest.as_bytes()) {
        if text.is_empty() {
            text.reserve_exact(raw.len());
        }
        text.push_str(&rest[..at]);
        let Ok((char, length)) = escape(&rest.as_bytes()[at + 1..]) else {
            debug_assert!(false, "the skimmer has let only valid escapes through");
            break;
        };
        text.push(char);
        rest = &rest[at + 1 + length..];
    }
    if rest.len() == raw.len() {
        return Cow::Borrowed(raw);
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// Appends `text` as a string, quotes included.
#[inline]
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, special) = rest.split_at(plain_run(rest));
        out.extend_from_slice(plain);
        let Some((&byte, behind)) = special.split_first() else { break };
        write_escape(out, byte);
        rest = behind;
    }
    out.push(b'"');
}

#[cold]
fn write_escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            debug_assert!(byte < 0x20, "only control characters need the long form");
            out.extend_from_slice(b"\\u00");
            out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            return;
        }
    };
    out.extend([b'\\', short]);
}

/// Appends `number` in decimal digits.
#[inline]
pub fn write_integer(out: &mut Vec<u8>, mut number: u64) {
    // Twenty digits hold the greatest u64.
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10).to_le_bytes()[0];
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests;
