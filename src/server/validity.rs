//! From when until when a certificate is valid: the one thing of its own certificate that a TLS server is not told by
//! its library.
//!
//! Walks over the DER of RFC 5280 §4.1 as far as that, and checks nothing else: the operator gave the file. What it
//! cannot read it says nothing about.

/// Seconds since 1970, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    /// `notBefore`.
    pub(super) from: u64,
    /// `notAfter`.
    pub(super) until: u64,
}

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The optional version stands in a context of its own.
const VERSION: u8 = 0xa0;

/// What a certificate says; none if it is not understood.
pub(super) fn of(certificate: &[u8]) -> Option<Validity> {
    let (_, body, _) = value(certificate)?;
    let (_, mut rest, _) = value(body)?;
    if rest.first() == Some(&VERSION) {
        rest = value(rest)?.2;
    }
    for _ in ["serialNumber", "signature", "issuer"] {
        rest = value(rest)?.2;
    }
    let (SEQUENCE, times, _) = value(rest)? else { return None };
    let (kind, from, times) = value(times)?;
    let from = seconds(kind, from)?;
    let (kind, until, _) = value(times)?;
    Some(Validity { from, until: seconds(kind, until)? })
}

/// Tag and content of the first value, and what follows it.
fn value(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, short], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = match short {
        0..=0x7f => (usize::from(short), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`, as RFC 5280 §4.1.2.5 has them.
fn seconds(kind: u8, text: &[u8]) -> Option<u64> {
    let digits = text.strip_suffix(b"Z")?;
    let number = |digits: &[u8]| {
        digits
            .iter()
            .try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0')))
    };
    let (year, rest) = match (kind, digits.len()) {
        (UTC_TIME, 12) => {
            let short = number(&digits[..2])?;
            (if short < 50 { 2000 + short } else { 1900 + short }, &digits[2..])
        }
        (GENERALIZED_TIME, 14) => (number(&digits[..4])?, &digits[4..]),
        _ => return None,
    };
    let mut parts = rest.chunks_exact(2).map(number);
    let mut next = || parts.next().flatten();
    let (month, day, hour, minute, second) = (next()?, next()?, next()?, next()?, next()?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some(
        days(year, month, day)?.checked_mul(24)?.checked_add(hour)?.checked_mul(3600)? + minute * 60 + second,
    )
}

/// Days from 1970-01-01 to a date of the Gregorian calendar; none before. Years are counted from March, so that the
/// leap day is the last of its year.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let (year, month) = if month < 3 { (year.checked_sub(1)?, month + 9) } else { (year, month - 3) };
    let in_year = (153 * month + 2) / 5 + day - 1;
    // Days from 0000-03-01 to 1970-01-01.
    const TO_1970: u64 = 719_468;
    (year * 365 + year / 4 - year / 100 + year / 400 + in_year).checked_sub(TO_1970)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_both_forms() {
        for (kind, text, expected) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "240229235959Z", Some(1_709_251_199)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000)),
            (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (GENERALIZED_TIME, "19700301000000Z", Some(5_097_600)),
            (UTC_TIME, "500101000000Z", None), // 1950
            (UTC_TIME, "20240229235959Z", None),
            (GENERALIZED_TIME, "240229235959Z", None),
            (UTC_TIME, "240229235959", None),
            (UTC_TIME, "2402292359x9Z", None),
            (UTC_TIME, "241329235959Z", None),
            (UTC_TIME, "240029235959Z", None),
        ] {
            assert_eq!(seconds(kind, text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn a_certificate_says_how_long_it_is_valid() {
        let mut wanted = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        wanted.not_before = rcgen::date_time_ymd(2020, 2, 29);
        wanted.not_after = rcgen::date_time_ymd(2091, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = wanted.self_signed(&key).unwrap();
        let found = of(certificate.der()).unwrap();
        assert_eq!(found, Validity { from: 1_582_934_400, until: 3_818_448_000 });
        for cut in 0..certificate.der().len().min(120) {
            assert_eq!(of(&certificate.der()[..cut]), None);
        }
        assert_eq!(of(&[0x30; 300]), None);
    }
}
