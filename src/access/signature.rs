//! Signatures of single messages: HMAC-SHA256 by a key that only this session and the server know.
//!
//! A signature says that a message was made by who holds the session's key, lately, and is taken once: what was taken
//! within [`WINDOW_MS`] is remembered, and what is older is refused for its age. It says nothing about the room that a
//! message goes to, as the agreed text does not name it; and a copy of a message is refused wherever it goes.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use aws_lc_rs::hmac;

use crate::base::clock::Wall;
use crate::base::hash::Keys;

/// By how much the time of a message may differ from ours, either way: 300 seconds.
pub const WINDOW_MS: u64 = 300_000;
/// Signatures of one session that are remembered; with more of them the oldest are forgotten, and then nothing of their
/// time is taken any more.
pub const SEEN_MAX: usize = 1024;
/// Longest timestamp that is looked at, in bytes.
const TIMESTAMP_BYTES_MAX: usize = 40;
/// From this number on a timestamp is in milliseconds: in seconds it would be the year 5138.
const MILLISECONDS_MIN: f64 = 1e11;

/// Makes the key of a session: 64 hexadecimal digits, which are, as text, what clients sign with.
#[must_use]
pub fn session_key(keys: Keys, serial: u64) -> String {
    let root = hmac::Key::new(hmac::HMAC_SHA256, &keys.digest("signing key", serial).to_be_bytes());
    hex(hmac::sign(&root, &serial.to_be_bytes()).as_ref())
}

/// Judges the signatures of one session, whose key was made of the same numbers.
#[derive(Debug, Default)]
pub struct Seen {
    /// When, and the beginning of the signature.
    taken: BTreeSet<(u64, [u8; 16])>,
    /// What is not later is not taken: it may have been taken before.
    floor: u64,
}

/// What a message has to show, as the texts that came.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// A number of seconds or milliseconds since 1970, or ISO 8601 in UTC.
    pub timestamp: &'a str,
    /// 64 hexadecimal digits.
    pub signature: &'a str,
}

impl Seen {
    /// Whether a message of this user was signed with the session's key, lately, and is no copy.
    pub fn judge(&mut self, key: &str, user_id: &str, message: &str, shown: Shown<'_>, now: Wall) -> bool {
        let Some(at) = milliseconds(shown.timestamp) else { return false };
        if at.abs_diff(now.0) > WINDOW_MS {
            return false;
        }
        let Some(signature) = digits(shown.signature) else { return false };
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
        let mut signed = hmac::Context::with_key(&key);
        for part in [user_id, ":", message, ":", shown.timestamp] {
            signed.update(part.as_bytes());
        }
        // Both are digests of one length, and ours is one that nobody could have chosen.
        let good =
            aws_lc_rs::constant_time::verify_slices_are_equal(signed.sign().as_ref(), &signature).is_ok();
        good && self.take(at, &signature, now)
    }

    /// Remembers a good signature; false if it may have been taken before.
    fn take(&mut self, at: u64, signature: &[u8; 32], now: Wall) -> bool {
        let old = now.0.saturating_sub(WINDOW_MS);
        while self.taken.first().is_some_and(|(at, _)| *at < old) {
            self.taken.pop_first();
        }
        let mut mark = [0; 16];
        mark.copy_from_slice(&signature[..16]);
        if at <= self.floor || !self.taken.insert((at, mark)) {
            return false;
        }
        if self.taken.len() > SEEN_MAX
            && let Some((at, _)) = self.taken.pop_first()
        {
            self.floor = at;
        }
        true
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn digits(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = [0; 32];
    let pairs = text.as_bytes().chunks_exact(2);
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// A point in time in milliseconds.
fn milliseconds(text: &str) -> Option<u64> {
    if text.len() > TIMESTAMP_BYTES_MAX {
        return None;
    }
    if text.contains('T') {
        return date_time(text);
    }
    let is_plain = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    let number: f64 = text.parse().ok().filter(|_| text.bytes().all(is_plain))?;
    let ms = if number < MILLISECONDS_MIN { number * 1000.0 } else { number };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "no sign, and casts saturate"
    )]
    Some(ms as u64)
}

/// `2026-02-03T04:05:06.789Z`; the fraction may be missing or of any length, and only its milliseconds count.
fn date_time(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z').or_else(|| text.strip_suffix("+00:00"))?.split_once('T')?;
    let number = |text: &str, most: u64| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|number| digits && *number <= most)
    };
    let mut date = date.splitn(3, '-');
    let (year, month, day) = (date.next()?, date.next()?, date.next()?);
    let (year, month, day) = (number(year, 9999)?, number(month, 12)?, number(day, 31)?);
    if year < 1970 || month < 1 || day < 1 {
        return None;
    }
    let mut time = time.splitn(3, ':');
    let (hour, minute, second) = (time.next()?, time.next()?, time.next()?);
    let (second, fraction) = second.split_once('.').unwrap_or((second, "0"));
    let (hour, minute, second) = (number(hour, 23)?, number(minute, 59)?, number(second, 60)?);
    number(fraction, u64::MAX)?;
    let millis: String = fraction.chars().chain("00".chars()).take(3).collect();
    // Years that begin in March have their leap day last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    /// Days from 0000-03-01 to 1970-01-01.
    const DAYS_TO_1970: u64 = 719_468;
    let seconds = days.checked_sub(DAYS_TO_1970)? * 86_400 + hour * 3600 + minute * 60 + second;
    Some(seconds * 1000 + number(&millis, 999)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Wall = Wall(1_770_091_506_789);
    const KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn sign(user_id: &str, message: &str, timestamp: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes());
        hex(hmac::sign(&key, format!("{user_id}:{message}:{timestamp}").as_bytes()).as_ref())
    }

    fn judge(seen: &mut Seen, timestamp: &str, signature: &str) -> bool {
        seen.judge(KEY, "ann", "hello", Shown { timestamp, signature }, NOW)
    }

    fn good(seen: &mut Seen, timestamp: &str) -> bool {
        judge(seen, timestamp, &sign("ann", "hello", timestamp))
    }

    /// The text and the digest as any other implementation makes them.
    #[test]
    fn the_signature_is_hmac_sha256_over_user_message_and_timestamp() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"key");
        let known = hmac::sign(&key, b"The quick brown fox jumps over the lazy dog");
        assert_eq!(hex(known.as_ref()), "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8");
        assert!(good(&mut Seen::default(), "1770091506"));
    }

    #[test]
    fn what_is_old_or_ahead_or_no_time_is_refused() {
        let at = |seconds: i64| (1_770_091_506 + seconds).to_string();
        for seconds in [0, -299, 300] {
            assert!(good(&mut Seen::default(), &at(seconds)), "{seconds}");
        }
        for wrong in [&at(-301), &at(302), "", "x", "-1770091506", "1e9", "NaN", "inf", &"1".repeat(41)] {
            assert!(!good(&mut Seen::default(), wrong), "{wrong}");
        }
    }

    #[test]
    fn times_are_seconds_milliseconds_or_iso_8601() {
        for text in [
            "1770091506.789",
            "1770091506789",
            "2026-02-03T04:05:06.789Z",
            "2026-02-03T04:05:06.789123Z",
            "2026-02-03T04:05:06.789+00:00",
        ] {
            assert_eq!(milliseconds(text), Some(NOW.0), "{text}");
        }
        // The slow twin counts days one by one.
        let is_leap =
            |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
        let mut days = 0;
        for year in 1970..2405 {
            for month in 1..=12 {
                let text = format!("{year:04}-{month:02}-01T12:34:56.007Z");
                assert_eq!(milliseconds(&text), Some(days * 86_400_000 + 45_296_007), "{text}");
                days += match month {
                    2 => 28 + u64::from(is_leap(year)),
                    4 | 6 | 9 | 11 => 30,
                    _ => 31,
                };
            }
        }
        for wrong in [
            "T",
            "2026-02-03T04:05Z",
            "2026-13-03T04:05:06Z",
            "2026-02-03T04:05:06",
            "2026-02-03T24:00:00Z",
            "1969-12-31T23:59:59Z",
            "2026-02-03T04:05:06.Z",
            "2026-02-03T04:05:06.+1Z",
            "+2026-2-3T1:1:1Z",
        ] {
            assert_eq!(milliseconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_part_counts() {
        let timestamp = "1770091506";
        let mut seen = Seen::default();
        for (user, message, at) in
            [("bob", "hello", timestamp), ("ann", "hellO", timestamp), ("ann", "hello", "1770091507")]
        {
            assert!(!judge(&mut seen, timestamp, &sign(user, message, at)));
        }
        let right = sign("ann", "hello", timestamp);
        assert!(!judge(&mut seen, timestamp, &right[..62]) && !judge(&mut seen, timestamp, ""));
        assert!(!judge(&mut seen, timestamp, &right.replace(|c: char| c.is_ascii_hexdigit(), "g")));
        assert!(judge(&mut seen, timestamp, &right.to_uppercase()), "digits of either case");
    }

    #[test]
    fn a_copy_is_refused_and_memory_is_bounded() {
        let mut seen = Seen::default();
        assert!(good(&mut seen, "1770091506") && !good(&mut seen, "1770091506"));
        assert!(good(&mut seen, "1770091300"), "they need not come in order");
        for millis in 0..SEEN_MAX as u64 {
            assert!(good(&mut seen, &(NOW.0 - 1000 + millis).to_string()));
        }
        assert_eq!(seen.taken.len(), SEEN_MAX);
        assert!(!good(&mut seen, "1770091300"), "forgotten, and of a time that is over");
        // What has left the window is not remembered, nor taken.
        let later = Wall(NOW.0 + 2 * WINDOW_MS);
        let timestamp = later.0.to_string();
        let signature = sign("ann", "hello", &timestamp);
        assert!(seen.judge(
            KEY,
            "ann",
            "hello",
            Shown { timestamp: &timestamp, signature: &signature },
            later
        ));
        assert_eq!(seen.taken.len(), 1);
    }

    #[test]
    fn each_session_has_a_key_of_its_own() {
        let keys = Keys::new([7; 16]);
        let one = session_key(keys, 1);
        assert_eq!(one.len(), 64);
        assert_eq!(one, session_key(keys, 1));
        assert_ne!(one, session_key(keys, 2));
        assert_ne!(one, session_key(Keys::new([8; 16]), 1));
    }
}
