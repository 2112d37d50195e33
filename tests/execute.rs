//! Shell sessions, over every shell that is installed.
#![cfg(target_os = "linux")]

use std::ffi::{OsStr, OsString};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deployx::AbsPath;
use deployx::execute::{
    Cancel, CommandOutcome, Output, OutputSink, OutputStream, Session, SessionSpec, find_shell,
};
use deployx::request::ShellName;

#[derive(Default)]
struct Collected(Mutex<(Vec<u8>, Vec<u8>)>);

impl OutputSink for Collected {
    fn write(&self, stream: OutputStream, piece: &[u8]) {
        assert!(piece.len() <= 64 * 1024);
        let mut streams = self.0.lock().expect("no writer panicked");
        match stream {
            OutputStream::Stdout => streams.0.extend(piece),
            OutputStream::Stderr => streams.1.extend(piece),
        }
    }
}

/// A session whose output is collected.
struct Shell {
    name: &'static str,
    session: Session,
    output: Arc<Collected>,
}

struct Run {
    outcome: CommandOutcome,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Run {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

fn spec(name: &str, output: Output) -> SessionSpec {
    SessionSpec {
        shell: ShellName::new(name),
        cwd: AbsPath::new("/").expect("the root is absolute"),
        env: Vec::new(),
        output,
        inherit_stdin: false,
        kill_grace: Duration::from_millis(500),
    }
}

impl Shell {
    fn start(name: &'static str) -> Self {
        Self::start_with(name, |_| {})
    }

    fn start_with(name: &'static str, change: impl FnOnce(&mut SessionSpec)) -> Self {
        let output = Arc::new(Collected::default());
        let mut spec = spec(name, Output::Stream(output.clone()));
        change(&mut spec);
        let session = Session::start(spec).expect("the shell starts");
        Self {
            name,
            session,
            output,
        }
    }

    fn run_as(&mut self, command: impl AsRef<OsStr>, last: bool, timeout: Option<Duration>) -> Run {
        let outcome = self
            .session
            .run(command.as_ref(), last, timeout, &Cancel::default())
            .unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let (stdout, stderr) = std::mem::take(&mut *self.output.0.lock().expect("no panic"));
        Run {
            outcome,
            stdout,
            stderr,
        }
    }

    fn run(&mut self, command: impl AsRef<OsStr>) -> Run {
        self.run_as(command, false, None)
    }
}

#[test]
fn a_first_command_works() {
    for name in ["bash", "dash", "sh", "zsh", "fish"] {
        let mut shell = Shell::start(name);
        let run = shell.run("echo hello; false");
        assert_eq!(
            run.text(),
            "hello\n",
            "{name} {:?}",
            String::from_utf8_lossy(&run.stderr)
        );
        assert_eq!(run.outcome.exit_code, 1);
        let run = shell.run_as("echo bye", true, None);
        assert_eq!(run.text(), "bye\n", "{name}");
        assert!(run.outcome.shell_ended);
    }
}
