//! Paths in the syntax of a shell, on any host.
//!
//! A path is bytes. In [`Style::Unix`] `/` separates; in [`Style::Windows`] both `/` and `\` do, and
//! a path may begin with a drive (`C:\`), a share (`\\server\share\`) or one separator (the root of
//! the current drive). A working directory without a drive, as a Linux host has it, is taken
//! by Windows rules too: `build\x` in `/srv` is `/srv/build/x`.

use deployx_plugin_abi::Kind;
use deployx_plugin_abi::wire::MAX_PATH_BYTES;

use crate::FileView;

/// A longer path is not followed, in bytes: no system call takes it.
const MAX_FOLLOWED: usize = 4096;

/// How many symbolic links are followed before a path is given up.
const MAX_LINKS: usize = 40;

/// Which syntax paths have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `/srv/app`
    Unix,
    /// `C:\srv\app`, `\\server\share\app`
    Windows,
}

impl Style {
    /// Whether `byte` separates components.
    pub fn is_separator(self, byte: u8) -> bool {
        byte == b'/' || (self == Self::Windows && byte == b'\\')
    }

    /// The length of the part of `path` that `..` cannot leave: `/`, `C:\`, `\\server\share\`.
    /// 0 for a relative path.
    fn root_len(self, path: &[u8]) -> usize {
        if self == Self::Unix {
            return path.iter().take_while(|b| **b == b'/').count();
        }
        let drive = path.len() >= 2 && path[0].is_ascii_alphabetic() && path[1] == b':';
        if drive {
            let separators = path[2..].iter().take_while(|b| self.is_separator(**b));
            return 2 + separators.count();
        }
        let leading = path.iter().take_while(|b| self.is_separator(**b)).count();
        if leading == 2 {
            // Server and share belong to the root.
            let mut at = 2;
            for _ in 0..2 {
                at += path[at..]
                    .iter()
                    .take_while(|b| !self.is_separator(**b))
                    .count();
                at += path[at..]
                    .iter()
                    .take_while(|b| self.is_separator(**b))
                    .count();
            }
            return at;
        }
        leading
    }

    /// Whether `path` needs no working directory.
    pub fn is_absolute(self, path: &[u8]) -> bool {
        match self {
            Self::Unix => path.first() == Some(&b'/'),
            Self::Windows => {
                let root = self.root_len(path);
                root >= 3 || (root > 0 && !path.starts_with(b"\\") && path[0] == b'/')
            }
        }
    }

    /// `path` taken from `base`, without `.`, empty components and, lexically, `..`. `base` must be
    /// absolute. `None` where it cannot be told: a path on a drive other than `base`'s without
    /// its root (`D:x`). `None` too for what no system takes as a path and no answer may hold: a NUL
    /// byte, a share without a name (`\\server`), more than 64 KiB.
    pub fn resolve(self, base: &[u8], path: &[u8]) -> Option<Vec<u8>> {
        let (root, components) = self.split(base, path)?;
        let found = Self::build(&root, &components);
        (found.len() <= MAX_PATH_BYTES && !found.contains(&0)).then_some(found)
    }

    /// Root and normal components of `path` taken from `base`.
    fn split<'a>(self, base: &'a [u8], path: &'a [u8]) -> Option<(Vec<u8>, Vec<&'a [u8]>)> {
        let mut components: Vec<&[u8]> = Vec::new();
        let path_root = &path[..self.root_len(path)];
        let base_root = &base[..self.root_len(base)];
        if self == Self::Windows && [path_root, base_root].into_iter().any(is_nameless_share) {
            return None;
        }
        let root = if self == Self::Windows && has_drive(path) && path_root.len() == 2 {
            // `C:x`: relative to the working directory of that drive.
            if !base_root[..base_root.len().min(2)].eq_ignore_ascii_case(path_root) {
                return None;
            }
            self.push(&mut components, &base[base_root.len()..]);
            base_root
        } else if path_root.is_empty() {
            self.push(&mut components, &base[base_root.len()..]);
            base_root
        } else if self == Self::Windows && path_root.len() == 1 {
            // `\x`: the root of the drive of `base`.
            base_root
        } else {
            path_root
        };
        self.push(&mut components, &path[path_root.len()..]);
        Some((self.normal_root(root), components))
    }

    fn push<'a>(self, components: &mut Vec<&'a [u8]>, rest: &'a [u8]) {
        for component in rest.split(|b| self.is_separator(*b)) {
            match component {
                b"" | b"." => {}
                b".." => {
                    components.pop();
                }
                other => components.push(other),
            }
        }
    }

    fn normal_root(self, root: &[u8]) -> Vec<u8> {
        match self {
            Self::Unix => b"/".to_vec(),
            Self::Windows if root.iter().all(|b| *b == b'/') => b"/".to_vec(),
            Self::Windows if has_drive(root) => {
                vec![root[0].to_ascii_uppercase(), b':', b'\\']
            }
            Self::Windows if root.len() > 2 => {
                let mut normal: Vec<u8> = root
                    .iter()
                    .map(|b| if *b == b'/' { b'\\' } else { *b })
                    .collect();
                if normal.last() != Some(&b'\\') {
                    normal.push(b'\\');
                }
                normal
            }
            Self::Windows => b"\\".to_vec(),
        }
    }

    fn build(root: &[u8], components: &[&[u8]]) -> Vec<u8> {
        let separator = if root.contains(&b'\\') { b'\\' } else { b'/' };
        let mut path = root.to_vec();
        for (at, component) in components.iter().enumerate() {
            if at > 0 {
                path.push(separator);
            }
            path.extend_from_slice(component);
        }
        path
    }

    /// The last component; `None` for a root.
    pub fn name(self, path: &[u8]) -> Option<&[u8]> {
        let root = self.root_len(path);
        path[root..]
            .split(|b| self.is_separator(*b))
            .rfind(|c| !c.is_empty())
    }

    /// The directory that holds `path`, an absolute one; `None` for a root.
    pub fn parent(self, path: &[u8]) -> Option<Vec<u8>> {
        let (root, mut components) = self.split(path, b"")?;
        components.pop()?;
        Some(Self::build(&root, &components))
    }

    /// `path`, an absolute one, with `name` in it.
    pub fn join(self, path: &[u8], name: &[u8]) -> Option<Vec<u8>> {
        self.resolve(path, name)
    }

    /// Whether `path` is `ancestor` or lies beneath it; both absolute. Letters of either case are
    /// the same in Windows paths.
    pub fn starts_with(self, path: &[u8], ancestor: &[u8]) -> bool {
        let (Some((root, path)), Some((above, ancestor))) =
            (self.split(path, b""), self.split(ancestor, b""))
        else {
            return false;
        };
        let same = |a: &[u8], b: &[u8]| match self {
            Self::Unix => a == b,
            Self::Windows => a.eq_ignore_ascii_case(b),
        };
        same(&root, &above)
            && path.len() >= ancestor.len()
            && ancestor.iter().zip(&path).all(|(a, p)| same(a, p))
    }

    /// `path` taken from `base` as the system takes it: a symbolic link before a `..` is followed
    /// first. A link at the end is left as it is.
    pub fn locate(self, view: &dyn FileView, base: &[u8], path: &[u8]) -> Option<Vec<u8>> {
        if self == Self::Windows || !path.windows(2).any(|pair| pair == b"..") {
            return self.resolve(base, path);
        }
        let mut at = if self.is_absolute(path) {
            b"/".to_vec()
        } else {
            self.resolve(base, b"")?
        };
        for component in path.split(|b| self.is_separator(*b)) {
            if component == b".." {
                at = self.follow(view, &at)?;
            }
            at = self.resolve(&at, component)?;
        }
        Some(at)
    }

    /// What `path`, an absolute one, leads to when every symbolic link in it is followed. `None`
    /// when there are too many, where something may be a link or not, or where the path is longer
    /// than any that a system takes.
    pub fn follow(self, view: &dyn FileView, path: &[u8]) -> Option<Vec<u8>> {
        if path.len() > MAX_FOLLOWED {
            return None;
        }
        let (root, components) = self.split(path, b"")?;
        let mut ahead: Vec<Vec<u8>> = components.iter().rev().map(|c| c.to_vec()).collect();
        let mut at = Self::build(&root, &[]);
        let mut links = 0;
        while let Some(component) = ahead.pop() {
            let next = self.resolve(&at, &component)?;
            let kind = if component == b".." {
                Kind::Directory
            } else {
                view.kind(&next)
            };
            if kind == Kind::Unknown && view.read_link(&next).is_some() {
                // It may be the link that it was.
                return None;
            }
            if kind != Kind::Link {
                at = next;
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return None;
            }
            let target = view.read_link(&next)?;
            if self.is_absolute(&target) {
                at = Self::build(&root, &[]);
            }
            let rest = &target[self.root_len(&target)..];
            let parts = rest.split(|b| self.is_separator(*b));
            ahead.extend(parts.rev().filter(|c| !c.is_empty()).map(<[u8]>::to_vec));
        }
        Some(at)
    }

    /// What is at `path` when a symbolic link at its end is followed.
    pub fn kind_behind(self, view: &dyn FileView, path: &[u8]) -> Kind {
        match view.kind(path) {
            Kind::Link => self
                .follow(view, path)
                .map_or(Kind::Unknown, |target| view.kind(&target)),
            other => other,
        }
    }
}

/// Whether a root begins like that of a share and does not name a server and a share.
fn is_nameless_share(root: &[u8]) -> bool {
    let names = root.split(|b| Style::Windows.is_separator(*b));
    root.len() >= 2 && !has_drive(root) && names.filter(|name| !name.is_empty()).count() < 2
}

fn has_drive(path: &[u8]) -> bool {
    path.len() >= 2 && path[0].is_ascii_alphabetic() && path[1] == b':'
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemoryView;

    fn resolve(style: Style, base: &str, path: &str) -> String {
        let found = style.resolve(base.as_bytes(), path.as_bytes());
        found.map_or("?".into(), |p| String::from_utf8(p).unwrap())
    }

    #[test]
    fn unix_paths_resolve() {
        for (base, path, expected) in [
            ("/srv", "a/b", "/srv/a/b"),
            ("/srv", "./a//b/", "/srv/a/b"),
            ("/srv", "..", "/"),
            ("/srv", "../../../x", "/x"),
            ("/srv", "/etc/./x", "/etc/x"),
            ("/srv", "//etc", "/etc"),
            ("/", "", "/"),
            ("/srv", r"a\b", r"/srv/a\b"),
        ] {
            assert_eq!(
                resolve(Style::Unix, base, path),
                expected,
                "{path} in {base}"
            );
        }
    }

    #[test]
    fn windows_paths_resolve() {
        for (base, path, expected) in [
            (r"C:\srv", r"a\b", r"C:\srv\a\b"),
            (r"C:\srv", "a/b", r"C:\srv\a\b"),
            (r"C:\srv", r"\x", r"C:\x"),
            (r"C:\srv", r"D:\x\..\y", r"D:\y"),
            (r"C:\srv", "c:x", r"C:\srv\x"),
            (r"C:\srv", "D:x", "?"),
            (r"C:\srv", "C:", r"C:\srv"),
            (r"C:\srv", r"\\", "?"),
            (r"C:\srv", r"\/", "?"),
            (r"C:\srv", r"\\host", "?"),
            (r"\\host\", "x", "?"),
            (r"C:\srv", r"\\\a", "?"),
            (r"C:\srv", "//host/share/a", r"\\host\share\a"),
            (r"C:\srv", r"\\host\share\a\..\..\b", r"\\host\share\b"),
            (r"\\host\share\a", r"\x", r"\\host\share\x"),
            (r"\\host\share\a", "x", r"\\host\share\a\x"),
            ("C:/", "x", r"C:\x"),
            ("/srv", r"a\b", "/srv/a/b"),
            ("/srv", r"\a", "/a"),
            ("/srv", r"C:\a", r"C:\a"),
        ] {
            assert_eq!(
                resolve(Style::Windows, base, path),
                expected,
                "{path} in {base}"
            );
        }
    }

    #[test]
    fn absolute_is_what_needs_no_working_directory() {
        for (path, expected) in [
            (r"C:\x", true),
            (r"\\h\s\x", true),
            (r"\x", false),
            ("C:x", false),
            ("x", false),
            ("/x", true),
        ] {
            assert_eq!(
                Style::Windows.is_absolute(path.as_bytes()),
                expected,
                "{path}"
            );
        }
    }

    #[test]
    fn parents_and_names() {
        assert_eq!(Style::Unix.parent(b"/a/b").unwrap(), b"/a");
        assert_eq!(Style::Unix.parent(b"/a").unwrap(), b"/");
        assert_eq!(Style::Unix.parent(b"/"), None);
        assert_eq!(Style::Windows.parent(br"C:\a").unwrap(), br"C:\");
        assert_eq!(Style::Windows.parent(br"\\h\s\a").unwrap(), br"\\h\s\");
        assert_eq!(Style::Windows.parent(br"\\h\s\"), None);
        assert_eq!(Style::Unix.name(b"/a/b/"), Some(b"b".as_slice()));
        assert_eq!(Style::Windows.name(br"C:\"), None);
    }

    #[test]
    fn ancestry_is_by_component() {
        assert!(Style::Unix.starts_with(b"/a/b", b"/a"));
        assert!(!Style::Unix.starts_with(b"/ab", b"/a"));
        assert!(Style::Windows.starts_with(br"c:\A\b", br"C:\a"));
    }

    #[test]
    fn a_link_before_two_dots_is_followed() {
        let view = MemoryView::new(&["/srv/link -> /data/deep/", "/data/deep/", "/data/x"]);
        let found = Style::Unix.locate(&view, b"/srv", b"link/../x").unwrap();
        assert_eq!(found, b"/data/x");
        assert_eq!(
            Style::Unix.locate(&view, b"/srv", b"link").unwrap(),
            b"/srv/link"
        );
    }

    #[test]
    fn a_circle_of_links_ends() {
        let view = MemoryView::new(&["/a -> /b", "/b -> /a"]);
        assert_eq!(Style::Unix.follow(&view, b"/a/x"), None);
    }

    #[test]
    fn what_no_system_takes_as_a_path_is_none() {
        for style in [Style::Unix, Style::Windows] {
            assert_eq!(style.resolve(b"/srv", b"a\0b"), None);
            let long = vec![b'a'; MAX_PATH_BYTES];
            assert_eq!(style.resolve(b"/srv", &long), None);
            assert!(style.resolve(b"/srv", &long[5..]).is_some());
        }
    }

    #[test]
    fn hostile_paths_do_not_panic() {
        for path in [
            "", "C:", "C", "\\\\", "\\\\a", "//", "..", "\\\\a\\", ":", "::", "/..",
        ] {
            for base in ["", "/", "C:\\", "\\\\h\\s", "x"] {
                for style in [Style::Unix, Style::Windows] {
                    let _ = style.resolve(base.as_bytes(), path.as_bytes());
                    let _ = style.parent(path.as_bytes());
                    let _ = style.name(path.as_bytes());
                }
            }
        }
    }
}
