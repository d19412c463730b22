//! Points in time as people read them: ISO 8601, UTC, milliseconds (`2026-02-03T04:05:06.789Z`).
//!
//! Reads no clock and knows no time zones or leap seconds.

use crate::base::clock::Wall;

/// Length of every timestamp, in bytes.
pub const TIMESTAMP_BYTES: usize = 24;

const MS_PER_DAY: u64 = 86_400_000;

/// The last instant whose year has four digits; later ones are written as this one.
const LAST: Wall = Wall(253_402_300_799_999);

/// Appends `time`, always [`TIMESTAMP_BYTES`] long, without quotes.
pub fn write(out: &mut Vec<u8>, time: Wall) {
    let ms = time.min(LAST).0;
    let (year, month, day) = date(ms / MS_PER_DAY);
    let of_day = ms % MS_PER_DAY;
    let mut text = *b"0000-00-00T00:00:00.000Z";
    text[0..2].copy_from_slice(&two_digits(year / 100));
    text[2..4].copy_from_slice(&two_digits(year % 100));
    text[5..7].copy_from_slice(&two_digits(month));
    text[8..10].copy_from_slice(&two_digits(day));
    text[11..13].copy_from_slice(&two_digits(of_day / 3_600_000));
    text[14..16].copy_from_slice(&two_digits(of_day / 60_000 % 60));
    text[17..19].copy_from_slice(&two_digits(of_day / 1000 % 60));
    text[20..22].copy_from_slice(&two_digits(of_day % 1000 / 10));
    text[22] = two_digits(of_day % 10)[1];
    out.extend_from_slice(&text);
}

/// Year, month (1–12) and day (1–31) of a day counted from 1970-01-01.
///
/// The count is moved to begin at 0000-03-01: years that begin in March have their leap day last, so months
/// have fixed places in them. Centuries and single years are then cut off with the length of the longest one,
/// where the last of a group may be a day longer.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_TO_1970: u64 = 719_468;
    const DAYS_PER_400_YEARS: u64 = 146_097;
    const DAYS_PER_CENTURY: u64 = 36_524;
    const DAYS_PER_4_YEARS: u64 = 1461;

    let days = days + DAYS_TO_1970;
    let (eras, days) = (days / DAYS_PER_400_YEARS, days % DAYS_PER_400_YEARS);
    let centuries = (days / DAYS_PER_CENTURY).min(3);
    let days = days - centuries * DAYS_PER_CENTURY;
    let (fours, days) = (days / DAYS_PER_4_YEARS, days % DAYS_PER_4_YEARS);
    let years = (days / 365).min(3);
    let day_of_year = days - years * 365;

    // From March on, months of 31, 30, 31, 30, 31 days come again and again: five in 153 days.
    let months = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months + 2) / 5 + 1;
    let year = eras * 400 + centuries * 100 + fours * 4 + years;
    // January and February belong to the next calendar year.
    if months < 10 { (year, months + 3, day) } else { (year + 1, months - 9, day) }
}

/// A number below 100.
#[inline(always)]
fn two_digits(number: u64) -> [u8; 2] {
    debug_assert!(number < 100, "the number fits its place");
    [b'0' + (number / 10).to_le_bytes()[0], b'0' + (number % 10).to_le_bytes()[0]]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(ms: u64) -> String {
        let mut out = Vec::new();
        write(&mut out, Wall(ms));
        assert_eq!(out.len(), TIMESTAMP_BYTES);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn known_instants() {
        for (ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_000_000_000_001, "2001-09-09T01:46:40.001Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
            (1_735_689_599_999, "2024-12-31T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(written(ms), expected);
        }
    }

    /// The slow twin: counts day by day, by the rule of the Gregorian calendar.
    #[test]
    fn every_day_until_the_last_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..=LAST.0 / MS_PER_DAY {
            assert_eq!(date(days), (year, month, day), "day {days}");
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 => 28 + u64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
        assert_eq!((year, month, day), (10_000, 1, 1));
    }
}
