//! Paths that are no files: what is written there is gone or does something.

/// A device or the like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Device {
    /// The effect that writing has; `None` where it has none.
    pub(crate) effect: Option<&'static str>,
}

/// The device that an absolute Unix path names.
pub(crate) fn unix(path: &[u8]) -> Option<Device> {
    if is_root_of_process(path) {
        return None;
    }
    if path.starts_with(b"/proc/") || path.starts_with(b"/sys/") {
        return Some(Device {
            effect: Some("kernel"),
        });
    }
    let name = path.strip_prefix(b"/dev/")?;
    // Memory that looks like a disk.
    if name.starts_with(b"shm/") || name.starts_with(b"mqueue/") {
        return None;
    }
    let without_effect: [&[u8]; 9] = [
        b"null", b"zero", b"full", b"random", b"urandom", b"stdin", b"stdout", b"stderr", b"tty",
    ];
    let harmless =
        without_effect.contains(&name) || name.starts_with(b"fd/") || name.starts_with(b"pts/");
    Some(Device {
        effect: (!harmless).then_some("device"),
    })
}

/// Whether a path leads through `/proc/PID/root` to an ordinary file.
pub fn is_root_of_process(path: &[u8]) -> bool {
    let mut parts = path.splitn(5, |b| *b == b'/').skip(1);
    let is_process = |name: &[u8]| {
        name == b"self" || name == b"thread-self" || name.iter().all(u8::is_ascii_digit)
    };
    parts.next() == Some(b"proc")
        && parts.next().is_some_and(is_process)
        && parts.next() == Some(b"root")
        && parts.next().is_some_and(|rest| !rest.is_empty())
}

/// Whether a Windows path names a device: `NUL`, `C:\x\con`, `lpt1.txt`.
pub(crate) fn is_windows(path: &[u8]) -> bool {
    let mut parts = path.rsplit(|b| matches!(b, b'/' | b'\\'));
    let last = parts.next().unwrap_or(path);
    let stem = last.split(|b| matches!(b, b'.' | b':')).next();
    let stem = stem.unwrap_or(last).trim_ascii_end().to_ascii_lowercase();
    match stem.as_slice() {
        b"nul" | b"con" | b"prn" | b"aux" => true,
        [b'c', b'o', b'm', digit] | [b'l', b'p', b't', digit] => digit.is_ascii_digit(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_told_from_files() {
        for (path, expected) in [
            ("/dev/null", Some(None)),
            ("/dev/fd/3", Some(None)),
            ("/dev/sda1", Some(Some("device"))),
            ("/dev/shm/x", None),
            ("/proc/sys/vm/swappiness", Some(Some("kernel"))),
            ("/proc/self/root/etc/x", None),
            ("/proc/17/root/etc/x", None),
            ("/proc/17/root", Some(Some("kernel"))),
            ("/proc/17/roots/x", Some(Some("kernel"))),
            ("/srv/dev/null", None),
        ] {
            let found = unix(path.as_bytes()).map(|device| device.effect);
            assert_eq!(found, expected, "{path}");
        }
        for (path, expected) in [
            (r"C:\x\NUL", true),
            ("/srv/nul", true),
            (r"C:\x\lpt1.txt", true),
            (r"C:\x\null", false),
            (r"C:\x\com", false),
        ] {
            assert_eq!(is_windows(path.as_bytes()), expected, "{path}");
        }
    }
}
