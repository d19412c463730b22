//! JSON, RFC 8259: a skimmer that validates a whole text and yields the spans of its top-level fields, and the
//! few writers that answers need.
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
            Kind::String => Some(unescape(&self.raw[1..self.raw.len() - 1])),
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
pub struct Name<'a>(&'a str);

impl<'a> Name<'a> {
    /// The text as it came, without the quotes: what it means, unless it holds a backslash.
    #[must_use]
    pub fn raw(self) -> &'a str {
        self.0
    }

    /// What it means.
    #[must_use]
    pub fn text(self) -> Cow<'a, str> {
        unescape(self.0)
    }
}

/// Validates `text`, which must be one object with nothing but blanks around it, and gives each of its fields
/// to `each`, in order. Of a text that turns out invalid, the fields before the fault have been given already.
///
/// # Errors
/// Says what is wrong with `text`.
pub fn object<'a>(text: &'a str, mut each: impl FnMut(Name<'a>, Value<'a>)) -> Result<(), Invalid> {
    let mut skimmer = Skimmer { text, bytes: text.as_bytes(), at: 0 };
    skimmer.skip_blanks();
    skimmer.expect(b'{')?;
    skimmer.skip_blanks();
    if !skimmer.take_if(b'}') {
        loop {
            let name = skimmer.name()?;
            let value = skimmer.value()?;
            each(name, value);
            skimmer.skip_blanks();
            match skimmer.take()? {
                b',' => skimmer.skip_blanks(),
                b'}' => break,
                _ => return Err(Invalid::Unexpected),
            }
        }
    }
    skimmer.skip_blanks();
    if skimmer.at == skimmer.bytes.len() { Ok(()) } else { Err(Invalid::Unexpected) }
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

/// Invariant: `at` is at most the length and, between tokens, on a character's boundary (tokens are ASCII).
struct Skimmer<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Skimmer<'a> {
    fn peek(&self) -> Result<u8, Invalid> {
        self.bytes.get(self.at).copied().ok_or(Invalid::Ended)
    }

    fn take(&mut self) -> Result<u8, Invalid> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    fn take_if(&mut self, wanted: u8) -> bool {
        let found = self.bytes.get(self.at) == Some(&wanted);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: u8) -> Result<(), Invalid> {
        if self.take()? == wanted { Ok(()) } else { Err(Invalid::Unexpected) }
    }

    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    /// A field's name, its colon and the blanks around that.
    #[inline]
    fn name(&mut self) -> Result<Name<'a>, Invalid> {
        let start = self.at + 1;
        self.expect(b'"')?;
        self.string_rest()?;
        let name = Name(&self.text[start..self.at - 1]);
        self.skip_blanks();
        self.expect(b':')?;
        self.skip_blanks();
        Ok(name)
    }

    /// A value of any kind, from its first byte to its last.
    #[inline]
    fn value(&mut self) -> Result<Value<'a>, Invalid> {
        let start = self.at;
        let kind = match self.peek()? {
            b'{' => self.nested(Kind::Object)?,
            b'[' => self.nested(Kind::Array)?,
            _ => self.scalar()?,
        };
        Ok(Value { raw: &self.text[start..self.at], kind })
    }

    /// An object or array with all that is in it.
    fn nested(&mut self, kind: Kind) -> Result<Kind, Invalid> {
        let mut open = Open { objects: 0, depth: 0 };
        loop {
            // Here a value begins.
            match self.peek()? {
                b'{' => {
                    self.at += 1;
                    open.push(true)?;
                    self.skip_blanks();
                    if !self.take_if(b'}') {
                        self.name()?;
                        continue;
                    }
                    open.pop();
                }
                b'[' => {
                    self.at += 1;
                    open.push(false)?;
                    self.skip_blanks();
                    if !self.take_if(b']') {
                        continue;
                    }
                    open.pop();
                }
                _ => {
                    self.scalar()?;
                }
            }
            // Here one has ended.
            loop {
                if open.depth == 0 {
                    return Ok(kind);
                }
                self.skip_blanks();
                match (self.take()?, open.in_object()) {
                    (b',', true) => {
                        self.skip_blanks();
                        self.name()?;
                        break;
                    }
                    (b',', false) => {
                        self.skip_blanks();
                        break;
                    }
                    (b'}', true) | (b']', false) => open.pop(),
                    _ => return Err(Invalid::Unexpected),
                }
            }
        }
    }

    #[inline]
    fn scalar(&mut self) -> Result<Kind, Invalid> {
        match self.take()? {
            b'"' => self.string_rest().map(|()| Kind::String),
            b'-' => {
                let first = self.take()?;
                self.number_rest(first)
            }
            b't' => self.literal_rest(b"rue", Kind::True),
            b'f' => self.literal_rest(b"alse", Kind::False),
            b'n' => self.literal_rest(b"ull", Kind::Null),
            first => self.number_rest(first),
        }
    }

    /// What follows the opening quote, up to and including the closing one.
    #[inline]
    fn string_rest(&mut self) -> Result<(), Invalid> {
        loop {
            self.at += plain_run(&self.bytes[self.at..]);
            match self.take()? {
                b'"' => return Ok(()),
                b'\\' => self.at += escape(&self.bytes[self.at..])?.1,
                _ => return Err(Invalid::Control),
            }
        }
    }

    /// RFC 8259 section 6, from the first digit on: a zero stands alone, a point or exponent has digits.
    fn number_rest(&mut self, first: u8) -> Result<Kind, Invalid> {
        match first {
            b'0' => {}
            b'1'..=b'9' => self.skip_digits(),
            _ => return Err(Invalid::Unexpected),
        }
        if self.take_if(b'.') {
            self.digits()?;
        }
        if self.take_if(b'e') || self.take_if(b'E') {
            let _sign = self.take_if(b'+') || self.take_if(b'-');
            self.digits()?;
        }
        Ok(Kind::Number)
    }

    fn digits(&mut self) -> Result<(), Invalid> {
        if !self.take()?.is_ascii_digit() {
            return Err(Invalid::Unexpected);
        }
        self.skip_digits();
        Ok(())
    }

    fn skip_digits(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
    }

    fn literal_rest(&mut self, rest: &[u8], kind: Kind) -> Result<Kind, Invalid> {
        for &byte in rest {
            self.expect(byte)?;
        }
        Ok(kind)
    }
}

/// How many bytes at the start of `bytes` stand for themselves in a string: none of `"`, `\` and U+0000–U+001F.
///
/// Eight bytes at a time. In each term a byte's top bit comes out set if the byte is one of those, or if a
/// borrow came from a lower byte that is; so the lowest bit set is always true, and only that one is used.
/// Bytes from 0x80 up (the inside of UTF-8) are masked away.
#[inline]
fn plain_run(bytes: &[u8]) -> usize {
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
