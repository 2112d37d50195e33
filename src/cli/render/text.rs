//! Numbers, times and foreign text in a form for people.

use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use crate::path::{AbsPath, WirePath};
use crate::seal::{ChangeCounts, ChangeKind};

/// Text that is put together line by line.
pub(crate) trait Lines {
    /// Appends `line` and ends it.
    fn line(&mut self, line: fmt::Arguments<'_>);
}

impl Lines for String {
    fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.write_fmt(line);
        self.push('\n');
    }
}

/// Foreign bytes on one line: control characters and what is not UTF-8 are escaped, and so are
/// characters that reorder or hide text.
pub(crate) fn bytes(bytes: &[u8]) -> String {
    escaped(bytes, false)
}

/// One line of foreign text in which tabs stay.
pub(crate) fn content(line: &str) -> String {
    escaped(line.as_bytes(), true)
}

/// Foreign text on one line.
pub(crate) fn line(text: &str) -> String {
    bytes(text.as_bytes())
}

/// A path on one line.
pub(crate) fn path(path: &AbsPath) -> String {
    bytes(path.to_bytes())
}

/// A path of the system on one line.
pub(crate) fn os_path(path: &Path) -> String {
    bytes(path.as_os_str().as_encoded_bytes())
}

/// A name or command as it stands in JSON, on one line.
pub(crate) fn wire(text: &WirePath) -> String {
    match text.to_bytes() {
        Ok(raw) => bytes(&raw),
        Err(_) => "?".into(),
    }
}

fn escaped(bytes: &[u8], tabs: bool) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if (c.is_control() && !(tabs && c == '\t')) || is_deceptive(c) {
                out.extend(c.escape_default());
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// Characters that change the order of others or break lines without being control characters.
fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A word for the shell, quoted where it has to be; for commands that are shown.
pub(crate) fn word(text: &OsStr) -> String {
    let shown = bytes(text.as_encoded_bytes());
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !shown.is_empty() && shown.chars().all(plain) {
        shown
    } else {
        format!("'{}'", shown.replace('\'', r"'\''"))
    }
}

/// `text` cut to `width` characters, the last of them an ellipsis.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(width.saturating_sub(1)).collect();
    out.push('…');
    out
}

/// `1 file`, `2 files`: `number` with the word in the right form.
pub(crate) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A number of bytes: `512 B`, `1.5 KiB`, `20 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would be rounded to 1024.0 of the unit below.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if value < 9.95 {
        format!("{value:.1} {}", UNITS[unit])
    } else {
        format!("{value:.0} {}", UNITS[unit])
    }
}

/// A run time: `12 ms`, `1.2 s`, `2m 05s`, `1h 02m`.
pub(crate) fn run_time(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match milliseconds {
        0..1000 => format!("{milliseconds} ms"),
        1000..60_000 => format!("{}.{} s", seconds, milliseconds % 1000 / 100),
        60_000..3_600_000 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A span that was set, such as a time limit: `30 s`, `2 h`.
pub(crate) fn span(span: Duration) -> String {
    run_time(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

/// How long ago something was: `5s`, `3m`, `2h`, `4d`.
pub(crate) fn age(hours: f64) -> String {
    let seconds = (hours * 3600.0).max(0.0) as u64;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Seconds since the epoch as `2026-11-23 09:05:00 UTC`.
pub(crate) fn instant(seconds: f64) -> String {
    let total = seconds.floor() as i64;
    let (year, month, day) = civil(total.div_euclid(86_400));
    let clock = total.rem_euclid(86_400);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC",
        clock / 3600,
        clock / 60 % 60,
        clock % 60
    )
}

/// Year, month and day of a number of days since 1970-01-01, by Howard Hinnant's `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// `3 created, 1 modified`; parts that are zero are left out.
pub(crate) fn changes(counts: &ChangeCounts) -> String {
    let parts: Vec<String> = [
        (counts.created, "created"),
        (counts.modified, "modified"),
        (counts.deleted, "deleted"),
        (counts.metadata, "metadata only"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, word)| format!("{number} {word}"))
    .collect();
    if parts.is_empty() {
        "nothing changed".into()
    } else {
        parts.join(", ")
    }
}

/// `+3 ~1 -2 !4` for narrow columns.
pub(crate) fn short_changes(counts: &ChangeCounts) -> String {
    let parts: Vec<String> = [
        ('+', counts.created),
        ('~', counts.modified),
        ('-', counts.deleted),
        ('!', counts.metadata),
    ]
    .into_iter()
    .filter(|(_, number)| *number > 0)
    .map(|(sign, number)| format!("{sign}{number}"))
    .collect();
    if parts.is_empty() {
        "none".into()
    } else {
        parts.join(" ")
    }
}

/// The word for how an entry changed.
pub(crate) fn change(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Created => "created",
        ChangeKind::Modified => "modified",
        ChangeKind::Deleted => "deleted",
        ChangeKind::Metadata => "metadata",
        ChangeKind::Incidental => "incidental",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_drive_the_terminal() {
        assert_eq!(bytes(b"a\x1b[2Jb\n\xff\r"), "a\\u{1b}[2Jb\\n\\xff\\r");
        assert_eq!(line("x\u{202e}y\u{200b}"), "x\\u{202e}y\\u{200b}");
        assert_eq!(line("\u{9b}31m"), "\\u{9b}31m");
        assert_eq!(content("\ta\tb\u{7}"), "\ta\tb\\u{7}");
        assert_eq!(line("häß 日本"), "häß 日本");
    }

    #[test]
    fn broken_wire_text_is_not_fatal() {
        let broken = WirePath::Bytes {
            bytes: "***".into(),
        };
        assert_eq!(wire(&broken), "?");
        assert_eq!(wire(&WirePath::from_bytes(b"\xffa")), "\\xffa");
    }

    #[test]
    fn shown_words_can_be_pasted() {
        let word = |text: &str| super::word(OsStr::new(text));
        assert_eq!(word("/var/lib/x"), "/var/lib/x");
        assert_eq!(word("my dir"), "'my dir'");
        assert_eq!(word("it's"), r"'it'\''s'");
        assert_eq!(word(""), "''");
    }

    #[test]
    fn shortening_counts_characters() {
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("abcd", 3), "ab…");
        assert_eq!(shortened("äöüß", 2), "ä…");
        assert_eq!(shortened("abc", 0), "…");
    }

    #[test]
    fn sizes_have_two_digits_or_more() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (10_240, "10 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16384 PiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn run_times_use_the_unit_that_fits() {
        for (ms, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1000, "1.0 s"),
            (59_999, "59.9 s"),
            (125_000, "2m 05s"),
            (3_720_000, "1h 02m"),
        ] {
            assert_eq!(run_time(ms), text);
        }
        assert_eq!(span(Duration::from_secs(30)), "30.0 s");
    }

    #[test]
    fn ages_are_short() {
        for (hours, text) in [
            (0.0, "0s"),
            (-1.0, "0s"),
            (0.5, "30m"),
            (2.9, "2h"),
            (47.0, "47h"),
            (49.0, "2d"),
        ] {
            assert_eq!(age(hours), text);
        }
    }

    #[test]
    fn instants_are_in_the_calendar() {
        for (seconds, text) in [
            (0.0, "1970-01-01 00:00:00 UTC"),
            (951_782_400.0, "2000-02-29 00:00:00 UTC"),
            (1_795_402_800.5, "2026-11-23 03:00:00 UTC"),
            (-1.0, "1969-12-31 23:59:59 UTC"),
        ] {
            assert_eq!(instant(seconds), text);
        }
    }

    #[test]
    fn numbers_agree_with_their_words() {
        assert_eq!(count(1, "entry", "entries"), "1 entry");
        assert_eq!(count(0, "entry", "entries"), "0 entries");
        let counts = ChangeCounts {
            created: 3,
            modified: 1,
            deleted: 2,
            metadata: 4,
        };
        assert_eq!(
            changes(&counts),
            "3 created, 1 modified, 2 deleted, 4 metadata only"
        );
        assert_eq!(short_changes(&counts), "+3 ~1 -2 !4");
        assert_eq!(changes(&ChangeCounts::default()), "nothing changed");
        assert_eq!(short_changes(&ChangeCounts::default()), "none");
    }
}
