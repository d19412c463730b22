//! Values as people write them (`16MiB`, `500ms`, `10/s,burst=20`, `:8080`), read and shown.
//!
//! Knows no setting: ranges and names come from the table. Reads no clock and no environment. Numbers beyond
//! 64 bits count as the largest of 64 bits, which every range ends long before.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use crate::access::origin::OriginError;
use crate::hub::name::NameError;
use crate::shard::limits::Rate;

/// Longest word of what was typed that a message repeats, in characters: enough to recognise a mistake.
const REPEATED_CHARS_MAX: usize = 40;

/// Burst of a rate that names none: this many seconds' worth, so that a client may send unevenly.
const BURST_SECONDS: u32 = 2;

/// Units of size with their bytes, largest first, as [`show_bytes`] tries them. Those after `B` are only
/// read.
const SIZES: [(&str, u64); 10] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
    ("k", 1_000),
    ("kB", 1_000),
    ("M", 1_000_000),
    ("MB", 1_000_000),
    ("G", 1_000_000_000),
    ("GB", 1_000_000_000),
];

/// Units of time with their milliseconds, largest first.
const TIMES: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Why a text is not the value it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Nothing was given.
    Empty,
    /// Not a whole number in decimal digits.
    NotNumber,
    /// A duration without its unit.
    NoUnit,
    /// A unit that is none.
    Unit(String),
    /// Less than allowed.
    Below(String),
    /// More than allowed.
    Above(String),
    /// None of the words that can stand here.
    NotWord,
    /// Neither yes nor no.
    NotSwitch,
    /// Neither `N/s` nor `N/s,burst=M`.
    NotRate,
    /// An address without its port.
    NoPort,
    /// A port that is no number up to 65535.
    Port(String),
    /// The name service does not know the host; its own words.
    Unresolved(String),
    /// More addresses than allowed.
    TooMany(usize),
    /// Not a name.
    Name(NameError),
    /// Bytes that are not UTF-8.
    NotUtf8,
    /// Not a kind of topic, a colon and a glob.
    NoKind(String),
    /// It does not say where the values come from.
    NoSource(String),
    /// A name that was given before.
    Twice(String),
    /// Not one of the words that take a value here.
    NoKey(String),
    /// Not a glob, an equals sign and another glob.
    NoUsers(String),
    /// Not an origin of pages.
    Origin(OriginError),
    /// Not a header line, or not one to be set.
    Header(&'static str),
    /// Neither a network nor an address.
    NotNetwork,
    /// A part of the text, and what is wrong with it.
    Part(String, Box<Wrong>),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Empty => f.write_str("nothing is given"),
            Wrong::NotNumber => f.write_str("this is not a whole number in decimal digits"),
            Wrong::NoUnit => f.write_str("the unit is missing (ms, s, m or h)"),
            Wrong::Unit(unit) => write!(f, "{} is not a unit", quoted(unit)),
            Wrong::Below(least) => write!(f, "this is less than {least}"),
            Wrong::Above(most) => write!(f, "this is more than {most}"),
            Wrong::NotWord => f.write_str("this is none of the words known here"),
            Wrong::NotSwitch => f.write_str("this is neither yes nor no"),
            Wrong::NotRate => f.write_str("this is not a rate"),
            Wrong::NoPort => f.write_str("the port is missing"),
            Wrong::Port(port) => write!(f, "{} is not a port (0 to 65535)", quoted(port)),
            Wrong::Unresolved(cause) => write!(f, "the host is not known ({})", escaped(cause)),
            Wrong::TooMany(most) => write!(f, "there are more than {most} addresses"),
            Wrong::Name(NameError::Empty) => f.write_str("the name is empty"),
            Wrong::Name(NameError::TooLong { max }) => write!(f, "the name has more than {max} bytes"),
            Wrong::Name(NameError::Control) => f.write_str("the name contains a control character"),
            Wrong::NotUtf8 => f.write_str("this is not UTF-8"),
            Wrong::NoKind(part) => write!(f, "{} does not begin with a kind of topic", quoted(part)),
            Wrong::NoSource(part) => write!(f, "{} does not say where values come from", quoted(part)),
            Wrong::Twice(name) => write!(f, "{} is there twice", quoted(name)),
            Wrong::NoUsers(part) => write!(f, "{} does not say which users for which rooms", quoted(part)),
            Wrong::NoKey(part) => write!(f, "{} is nothing that can be set here", quoted(part)),
            Wrong::Origin(error) => error.fmt(f),
            Wrong::Header(text) => f.write_str(text),
            Wrong::NotNetwork => f.write_str("this is no network of addresses"),
            Wrong::Part(part, wrong) => write!(f, "{}: {wrong}", quoted(part)),
        }
    }
}

/// A whole number, digits only.
///
/// # Errors
/// [`Wrong::Empty`], [`Wrong::NotNumber`].
pub fn count(text: &str) -> Result<u64, Wrong> {
    match split(text)? {
        (number, "") => Ok(number),
        _ => Err(Wrong::NotNumber),
    }
}

/// A size in bytes: a number with a unit of `SIZES` in upper or lower case, or without for bytes.
///
/// # Errors
/// [`Wrong::Empty`], [`Wrong::NotNumber`], [`Wrong::Unit`].
pub fn bytes(text: &str) -> Result<u64, Wrong> {
    let (number, unit) = split(text)?;
    if unit.is_empty() {
        return Ok(number);
    }
    let (_, size) =
        SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(|| unknown(unit))?;
    Ok(number.saturating_mul(*size))
}

/// A duration in whole milliseconds: a number with a unit of `TIMES`. Only zero may stand alone, as
/// `10` means seconds to some and milliseconds to others.
///
/// # Errors
/// [`Wrong::Empty`], [`Wrong::NotNumber`], [`Wrong::NoUnit`], [`Wrong::Unit`].
pub fn duration(text: &str) -> Result<Duration, Wrong> {
    let (number, unit) = split(text)?;
    match (number, unit) {
        (0, "") => return Ok(Duration::ZERO),
        (_, "") => return Err(Wrong::NoUnit),
        _ => {}
    }
    let (_, each) = TIMES.iter().find(|(name, _)| *name == unit).ok_or_else(|| unknown(unit))?;
    Ok(Duration::from_millis(number.saturating_mul(*each)))
}

/// A rate: `N/s`, or `N/s,burst=M`; both numbers from 1 to `max`. Without a burst it is `BURST_SECONDS` ×
/// N.
///
/// # Errors
/// [`Wrong::NotRate`], or [`Wrong::Below`] and [`Wrong::Above`] for either number.
pub fn rate(text: &str, max: u32) -> Result<Rate, Wrong> {
    let (per_second, burst) = match text.split_once(',') {
        Some((first, second)) => (first, Some(second.trim().strip_prefix("burst=").ok_or(Wrong::NotRate)?)),
        None => (text, None),
    };
    let number = |text: &str| match count(text) {
        Ok(number) => ranged(number, 1, max, |n| n.to_string()),
        Err(_) => Err(Wrong::NotRate),
    };
    let per_second = number(per_second.trim().strip_suffix("/s").ok_or(Wrong::NotRate)?.trim_end())?;
    let burst = burst.map_or(Ok(per_second.saturating_mul(BURST_SECONDS)), number)?;
    Ok(Rate { per_second, burst })
}

/// A switch: `true`, `yes`, `on`, `1` or `false`, `no`, `off`, `0`.
///
/// # Errors
/// [`Wrong::NotSwitch`].
pub fn switch(text: &str) -> Result<bool, Wrong> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(Wrong::NotSwitch),
    }
}

/// An address to listen on: `ADDRESS:PORT`, `[IPV6]:PORT`, `HOST:PORT`, or `:PORT` for every IPv4 address of
/// this machine. A host name stands for one address, its first IPv4 one if it has any: what `localhost`
/// means must not depend on whether the machine has IPv6 today. May ask the name service.
///
/// # Errors
/// [`Wrong::NoPort`], [`Wrong::Port`], [`Wrong::Unresolved`].
pub fn address(text: &str) -> Result<SocketAddr, Wrong> {
    if text.is_empty() {
        return Err(Wrong::Empty);
    }
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = match text.rsplit_once(':') {
        // `::1` is an address without a port, not the host `:` with the port 1.
        Some((host, port)) if !host.contains(':') || host.starts_with('[') && host.ends_with(']') => {
            (host, port)
        }
        _ => return Err(Wrong::NoPort),
    };
    if port.is_empty() {
        return Err(Wrong::NoPort);
    }
    let port =
        count(port).ok().and_then(|n| u16::try_from(n).ok()).ok_or_else(|| Wrong::Port(shortened(port)))?;
    if host.is_empty() {
        return Ok(SocketAddr::from(([0, 0, 0, 0], port)));
    }
    let found = (host, port).to_socket_addrs().map_err(|error| Wrong::Unresolved(error.to_string()))?;
    let found: Vec<SocketAddr> = found.collect();
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| Wrong::Unresolved("it has no address".to_owned()))
}

/// Holds `number` against its range; `show` writes the bound that it breaks.
///
/// # Errors
/// [`Wrong::Below`] or [`Wrong::Above`].
pub fn ranged(number: u64, min: u32, max: u32, show: fn(u64) -> String) -> Result<u32, Wrong> {
    if number < u64::from(min) {
        return Err(Wrong::Below(show(min.into())));
    }
    match u32::try_from(number) {
        Ok(number) if number <= max => Ok(number),
        _ => Err(Wrong::Above(show(max.into()))),
    }
}

/// Holds `time` against its range.
///
/// # Errors
/// [`Wrong::Below`] or [`Wrong::Above`].
pub fn between(time: Duration, min: Duration, max: Duration) -> Result<Duration, Wrong> {
    if time < min {
        Err(Wrong::Below(show_duration(min)))
    } else if time > max {
        Err(Wrong::Above(show_duration(max)))
    } else {
        Ok(time)
    }
}

/// A size in the largest binary unit that needs no fraction; [`bytes`] reads it back.
#[must_use]
pub fn show_bytes(number: u64) -> String {
    show(number, &SIZES)
}

/// A duration in the largest unit that needs no fraction, cut to milliseconds; [`duration`] reads it back.
#[must_use]
pub fn show_duration(time: Duration) -> String {
    match u64::try_from(time.as_millis()).unwrap_or(u64::MAX) {
        0 => "0".to_owned(),
        millis => show(millis, &TIMES),
    }
}

/// What was typed, in quotes, on one line and not too long to repeat.
#[must_use]
pub fn quoted(text: &str) -> String {
    format!("'{}'", shortened(text))
}

/// `text` on one line: control characters become visible and harmless.
#[must_use]
pub fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut line, c| {
        if c.is_control() {
            line.extend(c.escape_default())
        } else {
            line.push(c)
        }
        line
    })
}

fn shortened(text: &str) -> String {
    let mut line: String = escaped(text).chars().take(REPEATED_CHARS_MAX + 1).collect();
    if line.chars().count() > REPEATED_CHARS_MAX {
        line.pop();
        line.push('…');
    }
    line
}

/// Splits leading digits from the rest, blanks around either aside.
fn split(text: &str) -> Result<(u64, &str), Wrong> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Wrong::Empty);
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() || unit.starts_with(['.', '_', ',', '\'']) {
        return Err(Wrong::NotNumber);
    }
    // Digits alone fail only by being too many.
    Ok((number.parse().unwrap_or(u64::MAX), unit.trim_start()))
}

fn show(number: u64, units: &[(&str, u64)]) -> String {
    let fits = |(_, each): &&(&str, u64)| *each == 1 || (number >= *each && number.is_multiple_of(*each));
    match units.iter().find(fits) {
        Some((name, each)) => format!("{}{name}", number / each),
        None => number.to_string(),
    }
}

fn unknown(unit: &str) -> Wrong {
    Wrong::Unit(shortened(unit))
}

#[cfg(test)]
mod tests;
