//! The three text forms of a moment in the AWS protocols.

use base::Timestamp;

use crate::schema::TimestampFormat;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// `timestamp` in `format`. A fraction is written only where there is one.
pub fn write(timestamp: Timestamp, format: TimestampFormat) -> String {
    let milliseconds = timestamp.as_millis().rem_euclid(1000);
    match format {
        TimestampFormat::Iso8601 => {
            let full = timestamp.to_string();
            if milliseconds == 0 { full.replace(".000Z", "Z") } else { full }
        }
        TimestampFormat::Rfc822 => rfc822(timestamp),
        TimestampFormat::UnixTimestamp => unix(timestamp),
    }
}

/// Seconds since 1970 as a decimal number, exactly.
fn unix(timestamp: Timestamp) -> String {
    let milliseconds = timestamp.as_millis();
    let (sign, magnitude) = (if milliseconds < 0 { "-" } else { "" }, milliseconds.unsigned_abs());
    if magnitude % 1000 == 0 {
        return format!("{sign}{}", magnitude / 1000);
    }
    let mut text = format!("{sign}{}.{:03}", magnitude / 1000, magnitude % 1000);
    text.truncate(text.trim_end_matches('0').len());
    text
}

fn rfc822(timestamp: Timestamp) -> String {
    // The date's parts are read back from the ISO form, so that the calendar stands in one place.
    let iso = timestamp.to_string();
    let (date, time) = iso.split_once('T').unwrap_or((&iso, ""));
    let mut parts = date.rsplitn(3, '-');
    let day = parts.next().unwrap_or_default();
    let month = parts.next().and_then(|month| month.parse::<usize>().ok()).unwrap_or(1);
    let year = parts.next().unwrap_or_default();
    let weekday = timestamp.as_seconds().div_euclid(86_400).rem_euclid(7) as usize;
    let clock = time.get(..8).unwrap_or_default();
    format!("{}, {day} {} {year} {clock} GMT", WEEKDAYS[weekday], MONTHS[(month - 1) % 12])
}

/// Reads a timestamp that stands in a text (an XML element, a header, a form value) in `format`.
pub fn read(text: &str, format: TimestampFormat) -> Option<Timestamp> {
    match format {
        TimestampFormat::Iso8601 => read_iso8601(text),
        TimestampFormat::Rfc822 => read_rfc822(text),
        TimestampFormat::UnixTimestamp => text.parse().ok().and_then(from_seconds),
    }
}

/// The moment `seconds` after 1970; `None` where the number is none or beyond a hundred thousand years.
pub fn from_seconds(seconds: f64) -> Option<Timestamp> {
    const FARTHEST: f64 = 100_000.0 * 366.0 * 86_400.0;
    (seconds.is_finite() && seconds.abs() < FARTHEST)
        .then(|| Timestamp::from_millis((seconds * 1000.0).round() as i64))
}

/// `20260102T030405Z`, the form of `X-Amz-Date`.
pub fn read_basic(text: &str) -> Option<Timestamp> {
    let text = text.strip_suffix('Z')?;
    let (date, time) = text.split_once('T')?;
    if date.len() != 8 || time.len() != 6 {
        return None;
    }
    let part = |text: &str, from: usize, to: usize| digits(text.get(from..to)?);
    moment(
        [part(date, 0, 4)?, part(date, 4, 6)?, part(date, 6, 8)?],
        [part(time, 0, 2)?, part(time, 2, 4)?, part(time, 4, 6)?],
        0,
    )
}

fn digits(text: &str) -> Option<i64> {
    (!text.is_empty() && text.len() <= 6 && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

fn read_iso8601(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.split_once(['T', 't'])?;
    let mut date = date.splitn(3, '-');
    let date = [digits(date.next()?)?, digits(date.next()?)?, digits(date.next()?)?];
    let (clock, offset_minutes) = split_offset(rest)?;
    let (time, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut time = time.splitn(3, ':');
    let time = [digits(time.next()?)?, digits(time.next()?)?, digits(time.next()?)?];
    let milliseconds = milliseconds(fraction)?;
    Some(moment(date, time, milliseconds)?.plus_seconds(-offset_minutes * 60))
}

/// The clock part and the minutes that its zone is ahead of UTC.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let at = text.rfind(['+', '-'])?;
    let (clock, offset) = text.split_at_checked(at)?;
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    (hours < 24 && minutes < 60).then_some((clock, sign * (hours * 60 + minutes)))
}

fn milliseconds(fraction: &str) -> Option<i64> {
    if fraction.is_empty() || fraction.len() > 12 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let three: String = fraction.chars().chain("000".chars()).take(3).collect();
    three.parse().ok()
}

fn read_rfc822(text: &str) -> Option<Timestamp> {
    let (_, rest) = text.split_once(", ")?;
    let rest = rest.strip_suffix(" GMT")?;
    let mut parts = rest.split(' ');
    let day = digits(parts.next()?)?;
    let month = parts.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? as i64 + 1;
    let year = digits(parts.next()?)?;
    let clock = parts.next()?;
    let (time, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut time = time.splitn(3, ':');
    let time = [digits(time.next()?)?, digits(time.next()?)?, digits(time.next()?)?];
    moment([year, month, day], time, milliseconds(fraction)?)
}

fn moment(date: [i64; 3], time: [i64; 3], milliseconds: i64) -> Option<Timestamp> {
    let [year, month, day] = date;
    let [hour, minute, second] = time;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=last).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days from a civil date: March is month 0, so that the leap day is a year's last.
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    Some(Timestamp::from_millis(seconds * 1000 + milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_back() {
        for millis in [0, 1_398_796_238_000, 1_398_796_238_123, 951_782_400_000, 4_102_444_799_999] {
            let moment = Timestamp::from_millis(millis);
            for format in [TimestampFormat::Iso8601, TimestampFormat::UnixTimestamp] {
                let text = write(moment, format);
                assert_eq!(read(&text, format), Some(moment), "{text}");
            }
            let whole = Timestamp::from_millis(millis / 1000 * 1000);
            assert_eq!(read(&write(whole, TimestampFormat::Rfc822), TimestampFormat::Rfc822), Some(whole));
            assert_eq!(read_basic(&whole.to_basic_iso8601()), Some(whole));
        }
        assert_eq!(
            write(Timestamp::from_millis(1_398_796_238_000), TimestampFormat::Rfc822),
            "Tue, 29 Apr 2014 18:30:38 GMT"
        );
        assert_eq!(write(Timestamp::from_millis(-1500), TimestampFormat::UnixTimestamp), "-1.5");
    }

    #[test]
    fn odd_texts_are_refused() {
        for bad in [
            "",
            "T",
            "2014-02-30T00:00:00Z",
            "2014-13-01T00:00:00Z",
            "2014-01-01T25:00:00Z",
            "2014-01-01T00:00:00",
            "é",
        ] {
            assert_eq!(read(bad, TimestampFormat::Iso8601), None, "{bad}");
        }
        assert_eq!(
            read("2014-04-29T20:30:38+02:00", TimestampFormat::Iso8601),
            Some(Timestamp::from_millis(1_398_796_238_000))
        );
        assert_eq!(read("NaN", TimestampFormat::UnixTimestamp), None);
        assert_eq!(read_basic("2014042TT183038Z"), None);
    }
}
