//! Lines made at random of what shells do with files: later parts meet what earlier parts made.
//!
//! No part of a line names a directory above the tree that it runs in, and none deletes beneath a
//! variable that may be empty.

use crate::lines::{Answer, Line};

/// Numbers that look random and come again with the same seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn roll(&mut self, sides: usize) -> usize {
        // SplitMix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % sides
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }

    /// A line of a few commands.
    pub(crate) fn line(&mut self) -> Line {
        let count = 2 + self.roll(4);
        let mut command = self.command(0);
        for _ in 1..count {
            let separator = self.pick(&["; ", "; ", "; ", " && ", " && ", " || ", "\n"]);
            command = format!("{command}{separator}{}", self.command(0));
        }
        Line {
            category: "random".into(),
            command,
            setup: String::new(),
            needs: Vec::new(),
            observe: true,
            touches: Vec::new(),
            understood: Answer::Either,
            irreversible: Vec::new(),
        }
    }

    fn command(&mut self, depth: usize) -> String {
        let kinds = if depth < 2 { 50 } else { 34 };
        match self.roll(kinds) {
            0..34 => self.simple(),
            34 => format!("({})", self.commands(depth)),
            35 => format!("{{ {}; }}", self.commands(depth)),
            36 => format!("{} | {}", self.command(depth + 1), self.command(depth + 1)),
            37 => format!(
                "for x in {} {}; do {}; done",
                self.path(),
                self.path(),
                self.commands(depth)
            ),
            38 => format!(
                "if [ -e {} ]; then {}; else {}; fi",
                self.name(),
                self.commands(depth),
                self.commands(depth)
            ),
            39 => format!("f() {{ {}; }}; f {}", self.commands(depth), self.path()),
            40 => format!(
                "f() {{ local x={}; {}; }}; f",
                self.name(),
                self.commands(depth)
            ),
            41 => format!(
                "while read x; do {}; done <<< {}",
                self.commands(depth),
                self.name()
            ),
            42 => format!(
                "case $x in {}) {};; *) {};; esac",
                self.name(),
                self.commands(depth),
                self.commands(depth)
            ),
            43 => format!("bash -c '{}'", self.commands(2)),
            44 => format!("eval '{}'", self.commands(2)),
            45 => format!("trap '{}' EXIT", self.commands(2)),
            46 => format!("{{ {}; }} & wait", self.commands(depth)),
            47 => format!("y=$({}; echo {})", self.commands(depth), self.name()),
            48 => format!("{{ {}; }} > {}", self.commands(depth), self.name()),
            _ => format!(
                "[ -d {} ] && {} || {}",
                self.name(),
                self.simple(),
                self.simple()
            ),
        }
    }

    fn commands(&mut self, depth: usize) -> String {
        let first = self.command(depth + 1);
        if self.roll(2) == 0 {
            return first;
        }
        format!("{first}; {}", self.command(depth + 1))
    }

    fn simple(&mut self) -> String {
        let template = self.pick(&[
            "touch N",
            "touch N N",
            "rm -rf P",
            "rm -f P",
            "mv P N",
            "mv P P",
            "cp -r P N",
            "cp P P",
            "cp -a P N",
            "mkdir -p N",
            "mkdir N",
            "ln -sfn N N",
            "ln -s N N",
            "echo a > N",
            "echo a >> N",
            "cd N",
            "cd N",
            "cd -",
            "x=N",
            "x=P",
            "y=N x=N",
            "set -- P N",
            "shift",
            "find N -name '*.c' -delete",
            "find . -name 'q*' -exec mv {} N \\;",
            "tar cf q.tar N",
            "tar xf q.tar -C N",
            "gzip -f P",
            "sed -i s/o/a/ P",
            "read x <<< N",
            "unzip -qo site.zip",
            "tar xf vendor.tar",
            "chmod -R go-w N",
            "x=$(basename N)",
            "y=$(dirname src/lib/q1)",
            "rmdir N",
            "cat < N > N",
            "tee N < N",
            "install -m 600 P N",
            "split -b 9 VERSION N",
            "pushd N",
            "popd",
            "true",
            "false",
            "unset x",
            "x+=q",
            "cp -t N P",
            "rsync -a N N",
            "git add N",
            "ls P | xargs rm -rf",
            "for y in P; do cp -r \"$y\" N; done",
            "mv -T N N",
            "truncate -s 1 N",
            "find N -type f | while read y; do rm \"$y\"; done",
            "dd if=VERSION of=N",
            "exec 3> N",
        ]);
        let mut command = String::new();
        for part in template.split_inclusive(|c: char| !c.is_ascii_uppercase()) {
            let (word, rest) = part.split_at(usize::from(part.starts_with(['N', 'P'])));
            match (
                word,
                rest.chars().next().is_none_or(|c| !c.is_ascii_alphabetic()),
            ) {
                ("N", true) => command.push_str(&self.name()),
                ("P", true) => command.push_str(&self.path()),
                _ => command.push_str(word),
            }
            command.push_str(rest);
        }
        command
    }

    /// One name.
    fn name(&mut self) -> String {
        self.pick(&[
            "q1",
            "q2",
            "q1",
            "q2",
            "d1",
            "d1/q1",
            "d1/d2",
            "LICENSE",
            "VERSION",
            "src",
            "docs",
            "src/lib",
            "current",
            "previous",
            "releases",
            "releases/20240101",
            "current/q1",
            "../other",
            "../other/q1",
            "../other/www",
            "../other/notes.txt",
            "\"$x\"",
            "\"$y\"",
            "\"${x:-q1}\"",
            "${y:-d1}/q2",
            "\"$1\"",
            "q1/q2",
            "q2/lib",
            "notes.tmp",
            "photos",
            "site",
            "vendor-1.2",
            "site/css",
            "\"${x%.c}\"",
            "\"${x##*/}\"",
            "~/q1",
            "current/../q1",
            "q1/../q2",
        ])
        .into()
    }

    /// One name or several.
    fn path(&mut self) -> String {
        if self.roll(2) == 0 {
            return self.name();
        }
        self.pick(&[
            "q*",
            "*.tmp",
            "*.zz",
            "src/*",
            "d1/*",
            "src/*.c",
            "photos/*.JPG",
            "$x",
            "$y",
            "q1 q2",
            "$x $y",
            "*/q1",
            "q?/*",
            "current/*",
            "../other/*",
            "\"$@\"",
            "$1",
            "{q1,q2}",
            "q1/*/",
            "[!a-p]*.md",
            "site/*",
            "releases/*/VERSION",
        ])
        .into()
    }
}
