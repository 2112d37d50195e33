//! Looks for lines that take long: reads what fuzzing has found, as it is, and its words and pieces
//! over and over up to 64 KiB, and prints the slowest.
//!
//! `cargo run --release --example slow -- SHELL [SECONDS]` in `fuzz`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use deployx_fuzz::{Place, UNIX, WINDOWS_CMD, WINDOWS_POWERSHELL, infer};
use deployx_plugin_sdk::PathInference;

const LENGTH: usize = 64 * 1024;

/// The stack on which lines are read: that of a thread of the standard library.
const STACK: usize = 2 << 20;

fn main() {
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(search);
    thread
        .expect("a thread")
        .join()
        .expect("every line is answered");
}

fn search() {
    let mut arguments = std::env::args().skip(1);
    let shell = arguments.next().expect("a shell: bash, cmd, powershell");
    let seconds = arguments.next().map_or(60, |s| s.parse().expect("seconds"));
    let (rules, place): (Box<dyn PathInference>, &Place) = match shell.as_str() {
        "bash" => (Box::new(deployx_rules_bash::BashRules::new()), &UNIX),
        "cmd" => (Box::new(deployx_rules_cmd::CmdRules::new()), &WINDOWS_CMD),
        _ => {
            let rules = deployx_rules_powershell::PowerShellRules::new();
            (Box::new(rules), &WINDOWS_POWERSHELL)
        }
    };
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(&shell);
    let files = fs::read_dir(corpus).expect("fuzz/run has been run");
    let mut lines: Vec<Vec<u8>> = files
        .filter_map(|file| fs::read(file.ok()?.path()).ok())
        .collect();
    // Names are hashes of the content, so that this is a random order, the same on each run.
    lines.sort_by_key(|line| {
        line.iter()
            .fold(7u32, |h, b| h.wrapping_mul(31) ^ u32::from(*b))
    });

    let mut search = Search {
        rules: &*rules,
        place,
        slowest: Vec::new(),
        asked: 0,
    };
    for line in &lines {
        search.ask(line, || shown(line));
    }
    search.report("lines as they are");
    let end = Instant::now() + Duration::from_secs(seconds);
    for line in lines.iter().filter(|line| line.len() < 400) {
        if Instant::now() > end {
            break;
        }
        search.repeat(line);
    }
    search.report("pieces over and over");
}

struct Search<'a> {
    rules: &'a dyn PathInference,
    place: &'a Place,
    slowest: Vec<(Duration, String)>,
    asked: usize,
}

impl Search<'_> {
    fn ask(&mut self, line: &[u8], name: impl FnOnce() -> String) {
        let took = self.time(line);
        self.asked += 1;
        let slow = self.slowest.last().is_none_or(|(least, _)| took > *least);
        if !slow && self.slowest.len() >= 8 {
            return;
        }
        // Another process may have had the processor.
        let took = took.min(self.time(line));
        if took > Duration::from_secs(1) {
            let name = line[..line.len().min(200)].escape_ascii();
            println!("{:8.2} ms  {name}", took.as_secs_f64() * 1e3);
        }
        self.slowest.push((took, name()));
        self.slowest.sort_by(|a, b| b.cmp(a));
        self.slowest.truncate(8);
    }

    fn time(&self, line: &[u8]) -> Duration {
        let started = Instant::now();
        std::hint::black_box(infer(self.rules, self.place, line));
        started.elapsed()
    }

    /// The line over and over, on one line and on many, and one piece of it in its place.
    fn repeat(&mut self, line: &[u8]) {
        for between in [&b" "[..], b"", b"\n", b" ; "] {
            let unit = [line, between].concat();
            self.ask(&filled(b"", &unit, b""), || format!("({})*", shown(&unit)));
        }
        let random = line.iter().map(|b| usize::from(*b)).sum::<usize>();
        let from = random % line.len().max(1);
        let to = (from + 1 + random / 7 % 12).min(line.len());
        let piece = &line[from..to];
        if !piece.is_empty() {
            let name = || format!("{} ({})* …", shown(&line[..from]), shown(piece));
            self.ask(&filled(&line[..from], piece, &line[to..]), name);
        }
    }

    fn report(&mut self, what: &str) {
        println!("{what}: {} asked", self.asked);
        for (took, name) in self.slowest.drain(..) {
            println!("{:8.2} ms  {name}", took.as_secs_f64() * 1e3);
        }
        self.asked = 0;
    }
}

/// `head`, as many of `unit` as fit, and `tail`.
fn filled(head: &[u8], unit: &[u8], tail: &[u8]) -> Vec<u8> {
    let room = LENGTH.saturating_sub(head.len() + tail.len());
    [head, &unit.repeat(room / unit.len()), tail].concat()
}

fn shown(text: &[u8]) -> String {
    text.escape_ascii().to_string()
}
