//! Request targets: path and query, split and percent-decoded.
//!
//! Never touches a file system and never resolves `..`: a path is a name that either is one of ours or is
//! not. Decoding happens after splitting, so an escaped `/`, `&` or `=` is a character of a name and never
//! divides.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

/// Why a target, or one part of it, is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetError {
    /// Neither `/path` nor an absolute URI: authority form, `*`, a relative path (RFC 9112 §3.2).
    NotAPath,
    /// An absolute URI of a scheme that is not ours, without a host, or with a user name in it.
    Authority,
    /// A `#`, which no request may carry (RFC 9112 §3.2.1).
    Fragment,
    /// A `%` without two hexadecimal digits.
    Escape,
    /// Decoded bytes that are not UTF-8: overlong forms, surrogates, cut characters.
    NotUtf8,
}

/// A split target; nothing in it is decoded yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    authority: Option<&'a str>,
    path: &'a str,
    query: &'a str,
}

impl<'a> Target<'a> {
    /// Splits a target in origin form (`/path?query`) or absolute form (`http://host/path?query`).
    ///
    /// # Errors
    /// Any other form.
    pub fn parse(raw: &'a str) -> Result<Target<'a>, TargetError> {
        if memchr(b'#', raw.as_bytes()).is_some() {
            return Err(TargetError::Fragment);
        }
        let (authority, rest) = if raw.starts_with('/') { (None, raw) } else { split_absolute(raw)? };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        // RFC 9110 §4.2.3: an empty path is the same as "/".
        let path = if path.is_empty() { "/" } else { path };
        debug_assert!(path.starts_with('/'));
        Ok(Target { authority, path, query })
    }

    /// Host and port of an absolute target; it then counts instead of the header `Host` (RFC 9112 §3.2.2).
    #[must_use]
    pub fn authority(&self) -> Option<&'a str> {
        self.authority
    }

    /// The path as sent; begins with `/`.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.path
    }

    /// The pairs of the query in order, repeated keys included; see [`Query`].
    #[must_use]
    pub fn query(&self) -> Query<'a> {
        Query { rest: self.query }
    }

    /// The first value of `key` in the query.
    ///
    /// # Errors
    /// There is one and it does not decode.
    pub fn query_first(&self, key: &str) -> Result<Option<Cow<'a, str>>, TargetError> {
        self.query().find(|(found, _)| found == key).map(|(_, value)| value).transpose()
    }
}

/// `scheme://authority` and what follows it, which begins with `/` or `?` or is empty.
fn split_absolute(raw: &str) -> Result<(Option<&str>, &str), TargetError> {
    let (scheme, rest) = raw.split_once("://").ok_or(TargetError::NotAPath)?;
    if !["http", "https", "ws", "wss"].iter().any(|ours| scheme.eq_ignore_ascii_case(ours)) {
        return Err(TargetError::Authority);
    }
    let end = memchr2(b'/', b'?', rest.as_bytes()).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if authority.is_empty() || authority.contains('@') {
        return Err(TargetError::Authority);
    }
    Ok((Some(authority), rest))
}

/// Pairs of a query, `application/x-www-form-urlencoded`: `+` is a blank, a key without `=` has an empty
/// value, empty pairs are left out. A key that does not decode can be none of ours and is left out too; a
/// value that does not decode is an error, for whoever asked for that key.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Query<'a> {
    type Item = (Cow<'a, str>, Result<Cow<'a, str>, TargetError>);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let (pair, rest) = self.rest.split_once('&').unwrap_or((self.rest, ""));
            self.rest = rest;
            if pair.is_empty() {
                continue;
            }
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if let Ok(key) = decode(key, true) {
                return Some((key, decode(value, true)));
            }
        }
        None
    }
}

/// Decodes one segment of a path, without the `/` around it; `+` stays what it is. Borrows when there is
/// nothing to decode.
///
/// # Errors
/// Broken escapes and what is not UTF-8 afterwards. Control characters pass: `hub::name::check` knows them.
pub fn decode_segment(segment: &str) -> Result<Cow<'_, str>, TargetError> {
    decode(segment, false)
}

fn decode(text: &str, plus_is_blank: bool) -> Result<Cow<'_, str>, TargetError> {
    let bytes = text.as_bytes();
    let first = if plus_is_blank { memchr2(b'%', b'+', bytes) } else { memchr(b'%', bytes) };
    let Some(first) = first else { return Ok(Cow::Borrowed(text)) };
    let mut decoded = Vec::with_capacity(bytes.len());
    decoded.extend_from_slice(&bytes[..first]);
    let mut rest = &bytes[first..];
    loop {
        rest = match rest {
            [b'%', high, low, rest @ ..] => {
                let (high, low) = (hex(*high), hex(*low));
                decoded.push(high.zip(low).map(|(high, low)| high << 4 | low).ok_or(TargetError::Escape)?);
                rest
            }
            [b'%', ..] => return Err(TargetError::Escape),
            [b'+', rest @ ..] if plus_is_blank => {
                decoded.push(b' ');
                rest
            }
            [byte, rest @ ..] => {
                decoded.push(*byte);
                rest
            }
            [] => break,
        };
    }
    debug_assert!(decoded.len() <= bytes.len());
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| TargetError::NotUtf8)
}

/// The value of a hexadecimal digit of either case.
fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms_of_targets() {
        let parts = |raw| Target::parse(raw).map(|target| (target.authority, target.path, target.query));
        assert_eq!(parts("/"), Ok((None, "/", "")));
        assert_eq!(parts("/ws/a?room=b&c=d?e"), Ok((None, "/ws/a", "room=b&c=d?e")));
        assert_eq!(parts("/ws?"), Ok((None, "/ws", "")));
        assert_eq!(parts("//evil.example/ws"), Ok((None, "//evil.example/ws", "")));
        assert_eq!(parts("/http://a/b"), Ok((None, "/http://a/b", "")));
        assert_eq!(parts("http://a.b:80/ws?x"), Ok((Some("a.b:80"), "/ws", "x")));
        assert_eq!(parts("WSS://[::1]"), Ok((Some("[::1]"), "/", "")));
        assert_eq!(parts("ws://a?x=/"), Ok((Some("a"), "/", "x=/")));
        for raw in ["", "*", "a.b:80", "ws", "?x", "..", "../etc/passwd", "http:/a", "://a"] {
            let want = if raw == "://a" { TargetError::Authority } else { TargetError::NotAPath };
            assert_eq!(parts(raw), Err(want), "{raw}");
        }
        for raw in ["http://", "http:///ws", "http://user@a/ws", "file:///etc/passwd", "ftp://a/"] {
            assert_eq!(parts(raw), Err(TargetError::Authority), "{raw}");
        }
        assert_eq!(parts("/ws#a"), Err(TargetError::Fragment));
    }

    #[test]
    fn segments_decode_strictly() {
        let check = |segment, want: Result<&str, TargetError>| {
            assert_eq!(decode_segment(segment), want.map(Cow::Borrowed), "{segment}");
        };
        check("lobby", Ok("lobby"));
        check("a+b", Ok("a+b"));
        check("a%20b%2Fc%2fd", Ok("a b/c/d"));
        check("%E6%97%A5%E6%9c%ac", Ok("日本"));
        check("日本", Ok("日本"));
        check("%2e%2e", Ok(".."));
        check("%2541", Ok("%41"));
        check("%00", Ok("\0"));
        for broken in ["%", "a%2", "%ZZ", "%+1", "% 1", "%é1", "%%41"] {
            check(broken, Err(TargetError::Escape));
        }
        // A lone byte, an overlong '.', a surrogate, beyond Unicode, a character that is cut.
        for broken in ["%ff", "%c0%ae", "%ed%a0%80", "%f4%90%80%80", "%e6%97"] {
            check(broken, Err(TargetError::NotUtf8));
        }
    }

    #[test]
    fn only_what_must_be_decoded_is_copied() {
        assert!(matches!(decode_segment("lobby"), Ok(Cow::Borrowed("lobby"))));
        let target = Target::parse("/ws?token=a.b-c_d").expect("good");
        assert!(matches!(target.query_first("token"), Ok(Some(Cow::Borrowed("a.b-c_d")))));
    }

    #[test]
    fn queries_keep_order_and_repetition() {
        let target = Target::parse("/ws?room=a+b&&room=%26%3D&x&=y&%zz=1&room=%ff&ro%6fm=c=d").expect("good");
        let pairs: Vec<_> = target.query().collect();
        let good = |key, value| (Cow::Borrowed(key), Ok(Cow::Borrowed(value)));
        let bad = (Cow::Borrowed("room"), Err(TargetError::NotUtf8));
        let want =
            [good("room", "a b"), good("room", "&="), good("x", ""), good("", "y"), bad, good("room", "c=d")];
        assert_eq!(pairs, want);
        assert_eq!(target.query_first("room"), Ok(Some("a b".into())));
        assert_eq!(target.query_first("none"), Ok(None));
    }

    #[test]
    fn a_broken_value_is_told_only_to_who_asks() {
        let target = Target::parse("/ws?room=%ZZ%00%ff%c0%ae&token=t").expect("good");
        assert_eq!(target.query_first("room"), Err(TargetError::Escape));
        assert_eq!(target.query_first("token"), Ok(Some("t".into())));
    }

    proptest! {
        /// Whatever is escaped comes back, wherever it stands.
        #[test]
        fn escaped_text_comes_back(text in "\\PC{0,20}|[\\x00-\\x7f]{0,20}") {
            let escaped: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(decode_segment(&escaped), Ok(Cow::Borrowed(&*text)));
            let raw = format!("/ws?{escaped}={escaped}&");
            let target = Target::parse(&raw).expect("good");
            let want = (Cow::Borrowed(&*text), Ok(Cow::Borrowed(&*text)));
            prop_assert_eq!(target.query().collect::<Vec<_>>(), [want]);
        }

        #[test]
        fn nothing_panics(raw in "[/?&=%+#:@a-fA-F0-9*é\\x00]{0,40}|\\PC{0,40}") {
            if let Ok(target) = Target::parse(&raw) {
                prop_assert!(target.path().starts_with('/'));
                prop_assert!(target.query().count() <= raw.len());
                let _ = target.path().split('/').map(decode_segment).count();
            }
        }
    }
}
