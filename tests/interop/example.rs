//! The backend in `examples/`, as its head says how to use it.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::backend::{Agent, Kind, PATIENCE, kinds, servers};

/// The program, its lines, and what it has printed until now.
struct Example {
    child: Child,
    lines: Receiver<String>,
    printed: String,
}

impl Example {
    fn start() -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/backend.js");
        let mut child = Command::new("node")
            .env("NODE_PATH", servers().join("node_modules"))
            .arg(program)
            .arg("0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example");
        let stdout = BufReader::new(child.stdout.take().expect("its output"));
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            lines,
            printed: String::new(),
        }
    }

    /// The next line that holds `text`.
    fn wait(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let Ok(line) = self.lines.recv_timeout(Duration::from_secs(1)) else {
                continue;
            };
            self.printed.push_str(&line);
            self.printed.push('\n');
            if line.contains(text) {
                return line;
            }
        }
        panic!("'{text}' was not printed, but this: {}", self.printed);
    }

    fn enter(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("its input");
        writeln!(stdin, "{line}").expect("it reads");
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_example_runs_lines_and_takes_them_back() {
    if !kinds("the_example_runs_lines_and_takes_them_back").contains(&Kind::Node) {
        return;
    }
    let tree = tempfile::tempdir().expect("a tree");
    let page = tree.path().join("www/index.html");
    fs::create_dir(tree.path().join("www")).expect("a directory");
    fs::write(&page, "old\n").expect("a file");
    let mut example = Example::start();
    let line = example.wait("waiting for an agent at ");
    let address = line.rsplit(' ').next().expect("an address");
    let _agent = Agent::start(address, &[]);
    example.wait("is there, with");
    example.enter(&format!("cd {}", tree.path().display()));
    example.enter("rm -rf www");
    example.wait("# 0 created, 0 modified, 2 deleted");
    assert!(!page.exists());
    example.enter(".undo");
    example.wait("# Rollback completed successfully: 2 restored, 0 removed");
    assert_eq!(fs::read_to_string(&page).expect("a file"), "old\n");
    example.enter("echo new > www/index.html; echo word; exit 3");
    example.wait("word");
    example.wait("# failed: exit code 3");
    example.wait("# 0 created, 1 modified, 0 deleted");
    example.enter(".diff");
    example.wait("+new");
}
