//! Values of arguments that have a syntax of their own.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use crate::path::os_string;

/// Reads `90`, `30s`, `5m`, `2h`, `7d` or `1w`; a bare number is seconds.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit.trim() {
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        "w" => 604_800.0,
        _ => return Err("use a number with s, m, h, d or w, for example 2h".into()),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| "use a number with s, m, h, d or w, for example 2h".to_owned())?;
    duration(number * factor)
}

/// Reads a number of seconds, which may have a fraction.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text
        .trim()
        .parse()
        .map_err(|_| "use a number of seconds, for example 30 or 0.5".to_owned())?;
    duration(number)
}

/// Reads a number of hours, which may have a fraction.
pub(crate) fn hours(text: &str) -> Result<Duration, String> {
    let number: f64 = text
        .trim()
        .parse()
        .map_err(|_| "use a number of hours, for example 24 or 0.5".to_owned())?;
    duration(number * 3600.0)
}

/// The longest time that is taken, in seconds: a thousand years. Points of time that far ahead can be counted.
const LONGEST: f64 = 1000.0 * 365.0 * 24.0 * 3600.0;

/// Makes a duration of `seconds`; negative, endless and unbearably long ones are refused.
pub(crate) fn duration(seconds: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|_| seconds <= LONGEST)
        .ok_or_else(|| "the number must not be negative, and not more than a thousand years".into())
}

/// Reads a number of bytes: `4096`, `512K`, `10M`, `2G`, `1T` (powers of 1024; `KiB` and `KB`
/// are read alike).
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || "use bytes with an optional K, M, G or T, for example 500M".to_owned();
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let shift = match unit.trim().to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| "the number is too large".into())
}

/// Splits `NAME=VALUE`; the value may be empty and hold any bytes.
pub(crate) fn variable(text: &OsStr) -> Result<(OsString, OsString), String> {
    let bytes = text.as_encoded_bytes();
    let at = bytes
        .iter()
        .position(|&byte| byte == b'=')
        .ok_or("there is no '=': use NAME=VALUE")?;
    let (name, value) = (&bytes[..at], &bytes[at + 1..]);
    if name.is_empty() {
        return Err("the name is empty: use NAME=VALUE".into());
    }
    if bytes.contains(&0) {
        return Err("a variable cannot hold a NUL byte".into());
    }
    let part = |bytes| os_string(bytes).map_err(|error| error.to_string());
    Ok((part(name)?, part(value)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units() {
        for (text, seconds) in [
            ("90", 90.0),
            ("30s", 30.0),
            ("5m", 300.0),
            ("2h", 7200.0),
            ("1.5h", 5400.0),
            ("7d", 604_800.0),
            ("1w", 604_800.0),
            (" 2 h ", 7200.0),
        ] {
            assert_eq!(
                span(text).unwrap(),
                Duration::from_secs_f64(seconds),
                "{text}"
            );
        }
    }

    #[test]
    fn spans_without_sense_are_refused() {
        for bad in [
            "", "h", "2x", "-1h", "1.2.3h", "inf", "1e400", "2h30m", "366000d",
        ] {
            assert!(span(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(span("99999999999999999999999999d").is_err());
    }

    #[test]
    fn seconds_and_hours_take_fractions_but_nothing_negative() {
        assert_eq!(seconds("0.5").unwrap(), Duration::from_millis(500));
        assert_eq!(hours("0.5").unwrap(), Duration::from_secs(1800));
        for bad in ["", "-1", "nan", "inf", "5s"] {
            assert!(seconds(bad).is_err(), "{bad:?} was accepted");
            assert!(hours(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, size) in [
            ("0", 0),
            ("4096", 4096),
            ("1K", 1024),
            ("10 MiB", 10 << 20),
            ("2gb", 2 << 30),
            ("1T", 1 << 40),
        ] {
            assert_eq!(bytes(text).unwrap(), size, "{text}");
        }
        for bad in ["", "K", "-1", "1.5G", "1X", "99999999999T"] {
            assert!(bytes(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn variables_keep_every_byte_of_the_value() {
        let pair = |text: &str| variable(OsStr::new(text));
        assert_eq!(pair("A=b=c").unwrap(), ("A".into(), "b=c".into()));
        assert_eq!(pair("A=").unwrap(), ("A".into(), "".into()));
        assert!(pair("A").is_err());
        assert!(pair("=b").is_err());
        assert!(pair("A=b\0").is_err());
        #[cfg(unix)]
        {
            let raw = os_string(b"A=\xff").unwrap();
            assert_eq!(variable(&raw).unwrap().1, os_string(b"\xff").unwrap());
        }
    }
}
