//! Shell sessions, over every shell that is installed.
#![cfg(target_os = "linux")]

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use deployx::execute::{
    Cancel, CommandOutcome, Output, OutputSink, OutputStream, Session, SessionSpec, find_shell,
    quote_arguments,
};
use deployx::request::ShellName;
use deployx::{AbsPath, ErrorKind};

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
        interception: None,
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

/// The shells under test; those that are not installed are skipped by name.
fn shells() -> impl Iterator<Item = &'static str> {
    ["bash", "dash", "sh", "zsh", "fish"]
        .into_iter()
        .filter(|name| {
            let found = find_shell(&ShellName::new(*name)).is_ok();
            if !found {
                println!("SKIPPED {name}: not installed");
            }
            found
        })
}

fn posix_shells() -> impl Iterator<Item = &'static str> {
    shells().filter(|name| *name != "fish")
}

/// `posix` for every shell but fish.
fn per_shell<'a>(name: &str, posix: &'a str, fish: &'a str) -> &'a str {
    if name == "fish" { fish } else { posix }
}

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes)
        .lines()
        .map(str::to_owned)
        .collect()
}

fn is_running(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Waits until none of `pids` runs; fails when one still does after a generous time.
fn assert_end(pids: &[String]) {
    let give_up = Instant::now() + Duration::from_secs(20);
    assert!(!pids.is_empty());
    for pid in pids {
        assert!(pid.parse::<u32>().is_ok(), "{pid:?} is a process id");
        while is_running(pid) {
            assert!(Instant::now() < give_up, "process {pid} still runs");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Waits until the file has `count` lines and gives them.
fn await_lines(path: &Path, count: usize) -> Vec<String> {
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        let found = lines(&std::fs::read(path).unwrap_or_default());
        if found.len() >= count {
            return found;
        }
        assert!(Instant::now() < give_up, "{} has {found:?}", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn output_status_and_duration_of_a_command_are_reported() {
    for name in shells() {
        let mut shell = Shell::start(name);
        let run = shell.run("echo out; echo err >&2; sh -c 'exit 7'");
        assert_eq!(run.text(), "out\n", "{name}");
        assert_eq!(run.stderr, b"err\n", "{name}");
        assert_eq!(run.outcome.exit_code, 7, "{name}");
        assert!(!run.outcome.shell_ended && !run.outcome.timed_out && !run.outcome.cancelled);
        assert_eq!(run.outcome.survivors, Vec::<u32>::new(), "{name}");
    }
}

#[test]
fn a_command_reads_an_empty_standard_input() {
    for name in shells() {
        let mut shell = Shell::start(name);
        let run = shell.run("cat; wc -c");
        assert_eq!(run.text().trim(), "0", "{name}");
        assert_eq!(shell.run("echo next").text(), "next\n", "{name}");
    }
}

#[test]
fn output_without_a_final_line_break_is_complete() {
    for name in shells() {
        let mut shell = Shell::start(name);
        assert_eq!(shell.run("printf abc").stdout, b"abc", "{name}");
        assert_eq!(shell.run("printf 0").stdout, b"0", "{name}");
        assert_eq!(
            shell.run_as("printf end", true, None).stdout,
            b"end",
            "{name}"
        );
    }
}

#[test]
fn binary_output_passes_unchanged() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let content: Vec<u8> = (0..200_000_u32).map(|n| (n * 31 % 256) as u8).collect();
    std::fs::write(directory.path().join("data"), &content).expect("a file can be written");
    for name in shells() {
        let cwd = AbsPath::new(directory.path()).expect("an absolute path");
        let mut shell = Shell::start_with(name, |spec| spec.cwd = cwd);
        assert!(shell.run("cat data; true").stdout == content, "{name}");
    }
}

#[test]
fn exit_ends_the_shell_with_its_status() {
    for name in shells() {
        let mut shell = Shell::start(name);
        let run = shell.run("exit 3");
        assert_eq!(run.outcome.exit_code, 3, "{name}");
        assert!(run.outcome.shell_ended, "{name}");
        let run = shell.run("echo again");
        assert_eq!(run.text(), "again\n", "{name}");
        assert!(!run.outcome.shell_ended, "{name}");
    }
}

#[test]
fn exec_replaces_the_shell_and_its_program_has_the_last_word() {
    for name in shells() {
        let mut shell = Shell::start(name);
        let run = shell.run("exec sh -c 'echo replaced; exit 4'");
        assert_eq!(run.text(), "replaced\n", "{name}");
        assert_eq!(run.outcome.exit_code, 4, "{name}");
        assert!(run.outcome.shell_ended, "{name}");
    }
}

#[test]
fn errexit_ends_the_shell_at_the_failing_command() {
    for name in posix_shells() {
        let mut shell = Shell::start(name);
        assert!(!shell.run("set -e; true").outcome.shell_ended, "{name}");
        assert_eq!(
            shell.run("echo fine; ! true || true").text(),
            "fine\n",
            "{name}"
        );
        let run = shell.run("echo before; false; echo after");
        assert_eq!(run.text(), "before\n", "{name}");
        assert_eq!(run.outcome.exit_code, 1, "{name}");
        assert!(run.outcome.shell_ended, "{name}");
    }
}

#[test]
fn an_exit_trap_runs_once_as_part_of_the_last_command() {
    for name in posix_shells() {
        let mut shell = Shell::start(name);
        let run = shell.run("trap 'echo trap $?' EXIT; echo set");
        assert_eq!(run.text(), "set\n", "{name}");
        let run = shell.run_as("echo last; (exit 5)", true, None);
        assert_eq!(run.text(), "last\ntrap 5\n", "{name}");
        assert_eq!(run.outcome.exit_code, 5, "{name}");
        assert!(run.outcome.shell_ended);
    }
}

#[test]
fn an_exit_trap_may_change_the_last_commands_status() {
    for name in posix_shells() {
        let mut shell = Shell::start(name);
        let run = shell.run_as("trap 'exit 9' EXIT; true", true, None);
        assert_eq!(run.outcome.exit_code, 9, "{name}");
    }
}

#[test]
fn closing_a_session_runs_its_exit_trap() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    for name in posix_shells() {
        let file = directory.path().join(name);
        let mut shell = Shell::start(name);
        shell.run(format!("trap 'echo trapped >{}' EXIT", file.display()));
        shell.session.close().expect("the shell ends");
        assert_eq!(
            std::fs::read(&file).expect("the trap ran"),
            b"trapped\n",
            "{name}"
        );
    }
}

#[test]
fn a_signal_trap_works_within_a_command() {
    for name in posix_shells() {
        let mut shell = Shell::start(name);
        let run = shell.run("trap 'echo caught' USR1; kill -USR1 $$; echo on");
        assert_eq!(run.text(), "caught\non\n", "{name}");
    }
}

#[test]
fn here_documents_are_read_whole() {
    for name in posix_shells() {
        let mut shell = Shell::start(name);
        let run = shell.run("cat <<'X'\n$HOME 'one\\n\n\n  two\"\nX\necho done");
        assert_eq!(run.text(), "$HOME 'one\\n\n\n  two\"\ndone\n", "{name}");
    }
}

#[test]
fn unbalanced_quotes_and_syntax_errors_fail_without_disturbing_what_follows() {
    for name in shells() {
        let mut shell = Shell::start(name);
        for wrong in [
            "echo 'a", "echo \"a", "echo $(", "if true", "echo )", "}", "((", "a\\",
        ] {
            let run = shell.run(wrong);
            assert_ne!(run.outcome.exit_code, 0, "{name}: {wrong}");
            assert_eq!(shell.run("echo on").text(), "on\n", "{name} after {wrong}");
        }
    }
}

#[test]
fn a_background_job_that_holds_the_output_open_does_not_delay_the_end() {
    for name in shells() {
        let mut shell = Shell::start(name);
        let pid = per_shell(name, "$!", "$last_pid");
        let run = shell.run(format!("sleep 1000 & echo {pid}"));
        let job = run.text().trim().to_owned();
        assert!(is_running(&job), "{name}");
        assert_eq!(lines(job.as_bytes()).len(), 1, "{name}");
        let found: Vec<String> = run.outcome.survivors.iter().map(u32::to_string).collect();
        assert_eq!(found, [job.as_str()], "{name}");
        let run = shell.run_as("echo last", true, None);
        assert_eq!(run.text(), "last\n", "{name}");
        let found: Vec<String> = run.outcome.survivors.iter().map(u32::to_string).collect();
        assert_eq!(found, [job.as_str()], "{name}");
        drop(shell);
        assert!(is_running(&job), "{name}: the job outlives the session");
        std::process::Command::new("kill")
            .arg(&job)
            .status()
            .expect("kill runs");
        assert_end(&[job]);
    }
}

#[test]
fn late_output_of_a_background_job_comes_with_a_later_command() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    for name in shells() {
        let gate = directory.path().join(name);
        let mut shell = Shell::start(name);
        let command = format!(
            "sh -c 'until test -e {0}; do sleep 0.01; done; echo late; touch {0}.done' &",
            gate.display()
        );
        assert_eq!(shell.run(command).text(), "", "{name}");
        std::fs::write(&gate, "").expect("the gate opens");
        let run = shell.run(format!(
            "sh -c 'until test -e {}.done; do sleep 0.01; done'",
            gate.display()
        ));
        assert_eq!(run.text(), "late\n", "{name}");
    }
}

/// Writes the ids of a child, a session leader of its own and a grandchild of that whose parent
/// ended, then sleeps.
fn stubborn_tree(file: &Path) -> String {
    let script = "trap '' TERM INT HUP; echo $$ >>FILE; sleep 1000";
    let detached = "sh -c \"SCRIPT\" & exit";
    format!(
        "sh -c 'echo $$ >>FILE; sleep 1000' & setsid sh -c '{detached}'; sh -c \"{script}\"",
        detached = detached.replace(
            "SCRIPT",
            &script.replace("''", "\\\"\\\"").replace("$$", "\\$\\$")
        ),
        script = script.replace("$$", "\\$\\$"),
    )
    .replace("FILE", &file.display().to_string())
}

#[test]
fn a_time_out_ends_detached_and_stubborn_processes_too() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    for name in shells() {
        let file = directory.path().join(name);
        let mut shell = Shell::start(name);
        let command = stubborn_tree(&file);
        let watcher = {
            let file = file.clone();
            std::thread::spawn(move || await_lines(&file, 3))
        };
        let run = shell.run_as(command, false, Some(Duration::from_secs(2)));
        let pids = watcher.join().expect("all three processes started");
        assert!(run.outcome.timed_out && run.outcome.shell_ended, "{name}");
        assert_eq!(run.outcome.exit_code, 124, "{name}");
        for pid in &pids {
            assert!(!is_running(pid), "{name}: {pid}");
        }
        assert_eq!(run.outcome.survivors, Vec::<u32>::new(), "{name}");
        assert_eq!(shell.run("echo fresh").text(), "fresh\n", "{name}");
    }
}

#[test]
fn a_stopped_process_is_ended_by_a_time_out() {
    for name in shells() {
        let mut shell = Shell::start(name);
        let run = shell.run_as(
            // fish goes on when its child stops, therefore the parent in between.
            "sh -c 'echo $$; sh -c \"echo \\$\\$; kill -STOP \\$\\$\"; true'",
            false,
            Some(Duration::from_millis(700)),
        );
        assert!(run.outcome.timed_out, "{name}");
        assert_end(&lines(&run.stdout));
    }
}

#[test]
fn cancelling_ends_the_tree_and_the_next_command_has_a_fresh_shell() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    for name in shells() {
        let file = directory.path().join(name);
        let mut shell = Shell::start(name);
        let cancel = Cancel::default();
        let (command, trigger) = (stubborn_tree(&file), cancel.clone());
        let canceller = std::thread::spawn(move || {
            let pids = await_lines(&file, 3);
            trigger.cancel();
            pids
        });
        let outcome = shell
            .session
            .run(OsStr::new(&command), false, None, &cancel)
            .expect("the command starts");
        let pids = canceller.join().expect("all three processes started");
        assert!(
            outcome.cancelled && outcome.shell_ended && !outcome.timed_out,
            "{name}"
        );
        assert!(outcome.exit_code > 128, "{name}: {}", outcome.exit_code);
        for pid in &pids {
            assert!(!is_running(pid), "{name}: {pid}");
        }
        assert_eq!(shell.run("echo fresh").text(), "fresh\n", "{name}");
    }
}

#[test]
fn a_command_that_ends_at_the_interrupt_is_cancelled_with_130() {
    let mut shell = Shell::start_with("sh", |spec| spec.kill_grace = Duration::from_secs(60));
    let cancel = Cancel::default();
    let directory = tempfile::tempdir().expect("a directory can be made");
    let file = directory.path().join("ready");
    let trigger = cancel.clone();
    let ready = file.clone();
    let canceller = std::thread::spawn(move || {
        await_lines(&ready, 1);
        trigger.cancel();
    });
    let command = format!("echo x >{}; sleep 1000", file.display());
    let outcome = shell
        .session
        .run(OsStr::new(&command), false, None, &cancel)
        .expect("the command starts");
    canceller.join().expect("the command started");
    assert_eq!((outcome.exit_code, outcome.cancelled), (130, true));
}

#[test]
fn a_command_is_not_started_when_it_is_cancelled_already() {
    let mut shell = Shell::start("sh");
    let cancel = Cancel::default();
    cancel.cancel();
    let outcome = shell
        .session
        .run(OsStr::new("echo no"), false, None, &cancel)
        .expect("cancelling is no error");
    assert_eq!((outcome.exit_code, outcome.cancelled), (130, true));
    assert_eq!(shell.run("echo yes").text(), "yes\n");
}

struct Blocking {
    gate: Mutex<mpsc::Receiver<()>>,
}

impl OutputSink for Blocking {
    fn write(&self, _: OutputStream, _: &[u8]) {
        let gate = self.gate.lock().expect("no writer panicked");
        let _ = gate.recv();
    }
}

#[test]
fn a_time_out_ends_the_command_while_the_receiver_of_its_output_blocks() {
    let (open, gate) = mpsc::channel();
    let sink = Arc::new(Blocking {
        gate: Mutex::new(gate),
    });
    let directory = tempfile::tempdir().expect("a directory can be made");
    let file = directory.path().join("pid");
    let mut session = Session::start(spec("sh", Output::Stream(sink))).expect("the shell starts");
    let command = format!("echo $$ >{}; yes", file.display());
    let worker = std::thread::spawn(move || {
        session.run(
            OsStr::new(&command),
            false,
            Some(Duration::from_millis(300)),
            &Cancel::default(),
        )
    });
    assert_end(&await_lines(&file, 1));
    drop(open);
    let outcome = worker.join().expect("no panic").expect("the command ran");
    assert!(outcome.timed_out);
}

#[test]
fn a_killed_supervisor_is_an_error_that_leaves_no_shell_behind() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    for name in posix_shells() {
        let file = directory.path().join(name);
        let mut shell = Shell::start(name);
        let command = format!("echo $$ >{}; kill -9 $PPID; sleep 1000", file.display());
        let result = shell
            .session
            .run(OsStr::new(&command), false, None, &Cancel::default());
        assert!(result.is_err(), "{name}");
        assert_end(&await_lines(&file, 1));
        assert_eq!(shell.run("echo new").text(), "new\n", "{name}");
    }
}

struct Panicking;

impl OutputSink for Panicking {
    fn write(&self, _: OutputStream, _: &[u8]) {
        std::panic::resume_unwind(Box::new("no more"));
    }
}

#[test]
fn a_receiver_of_output_that_panics_ends_the_command() {
    assert_ends_without_receiver("yes");
}

#[test]
fn a_command_that_ignores_interrupts_and_writes_on_ends_with_its_receiver() {
    assert_ends_without_receiver("trap '' INT; yes");
}

fn assert_ends_without_receiver(command: &str) {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let file = directory.path().join("pid");
    let sink = Output::Stream(Arc::new(Panicking));
    let mut session = Session::start(spec("sh", sink)).expect("the shell starts");
    let command = format!("echo $$ >{}; {command}", file.display());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        session.run(OsStr::new(&command), false, None, &Cancel::default())
    }));
    assert!(panicked.is_err());
    assert_end(&await_lines(&file, 1));
}

#[test]
fn a_killed_shell_is_reported_and_replaced() {
    for name in shells() {
        let mut shell = Shell::start(name);
        let run = shell.run(per_shell(name, "kill -9 $$", "kill -9 $fish_pid"));
        assert_eq!(run.outcome.exit_code, 137, "{name}");
        assert!(run.outcome.shell_ended && !run.outcome.timed_out, "{name}");
        assert_eq!(shell.run("echo new").text(), "new\n", "{name}");
    }
}

#[test]
fn a_shell_that_dies_between_commands_is_replaced() {
    for name in shells() {
        let mut shell = Shell::start(name);
        let pid = shell.run(per_shell(name, "echo $$", "echo $fish_pid"));
        let pids = lines(&pid.stdout);
        std::process::Command::new("kill")
            .arg("-9")
            .args(&pids)
            .status()
            .expect("kill runs");
        assert_end(&pids);
        assert_eq!(shell.run("echo new").text(), "new\n", "{name}");
    }
}

#[test]
fn the_working_directory_is_physical_and_outlives_the_shell() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let root = directory.path().canonicalize().expect("it exists");
    std::fs::create_dir(root.join("real")).expect("a directory can be made");
    std::os::unix::fs::symlink("real", root.join("link")).expect("a link can be made");
    for name in shells() {
        let mut shell = Shell::start(name);
        shell.run(format!("cd {}/link", root.display()));
        let cwd = AbsPath::new(root.join("real")).expect("an absolute path");
        assert_eq!(shell.session.cwd(), Some(cwd.clone()), "{name}");
        assert!(shell.run("exit 0").outcome.shell_ended, "{name}");
        assert_eq!(shell.run("pwd -P").text().trim(), cwd.to_string(), "{name}");
    }
}

#[test]
fn a_deleted_working_directory_is_none_and_cannot_start_a_shell() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    for name in shells() {
        let gone = directory.path().join(name);
        // Looks like the name that the system gives to a deleted directory.
        std::fs::create_dir(directory.path().join(format!("{name} (deleted)")))
            .expect("a directory can be made");
        let mut shell = Shell::start(name);
        let run = shell.run(format!("mkdir {0}; cd {0}; rmdir {0}", gone.display()));
        assert_eq!(run.outcome.exit_code, 0, "{name}");
        assert_eq!(shell.session.cwd(), None, "{name}");
        assert_eq!(shell.run("echo here").text(), "here\n", "{name}");
        shell.run("exit 0");
        let error = shell
            .session
            .run(OsStr::new("true"), false, None, &Cancel::default())
            .expect_err("there is nowhere to start");
        assert_eq!(error.kind(), ErrorKind::NotFound, "{name}");
        assert!(error.context().contains("working directory"), "{name}");
    }
}

#[test]
fn a_missing_directory_refuses_to_start() {
    let mut missing = spec("sh", Output::Stream(Arc::new(Collected::default())));
    missing.cwd = AbsPath::new("/nowhere/at/all").expect("an absolute path");
    let error = Session::start(missing).err().expect("it cannot start");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.context().contains("/nowhere/at/all"));
}

#[test]
fn variables_functions_and_options_persist() {
    for name in posix_shells() {
        let mut shell = Shell::start(name);
        shell.run("a=1; export b=2; f() { echo f $a $b; }; set -o noglob; cd /usr; umask 027");
        let run = shell.run("f; echo /*; pwd; umask; sh -c 'echo $a$b'; (exit 3)");
        let umask = if name == "zsh" { "027" } else { "0027" };
        assert_eq!(
            run.text(),
            format!("f 1 2\n/*\n/usr\n{umask}\n2\n"),
            "{name}"
        );
        assert_eq!(
            shell.run("echo $?").text(),
            "3\n",
            "{name}: the last status"
        );
        assert_eq!(shell.run("echo $?").text(), "0\n", "{name}");
    }
    for name in shells().filter(|name| *name == "fish") {
        let mut shell = Shell::start(name);
        shell.run("set a 1; set -gx b 2; function f; echo f $a $b; end; cd /usr");
        let run = shell.run("f; pwd; sh -c 'echo $a$b'; sh -c 'exit 3'");
        assert_eq!(run.text(), "f 1 2\n/usr\n2\n");
        assert_eq!(shell.run("echo $status").text(), "3\n");
    }
}

#[test]
fn functions_named_like_builtins_do_not_break_the_session() {
    for name in posix_shells() {
        let mut shell = Shell::start(name);
        let special = if name == "bash" || name == "zsh" {
            "eval() { echo E; }; set() { :; }; export() { :; }; exit() { :; };"
        } else {
            ""
        };
        shell.run(format!(
            "{special} read() {{ echo R; }}; printf() {{ echo P; }}; echo() {{ command printf \
             '<%s>' \"$*\"; }}"
        ));
        assert_eq!(
            shell.run("read; echo x; (exit 6)").text(),
            "<R><x>",
            "{name}"
        );
        for word in ["command", "builtin", "unset"] {
            shell.run(format!("{word}() {{ :; }}"));
            let run = shell.run("true; ls -d /");
            assert_eq!(run.text(), "/\n", "{name}: {word}");
        }
    }
}

#[test]
fn a_stray_break_or_continue_does_not_end_the_session() {
    for name in shells() {
        let mut shell = Shell::start(name);
        shell.run(per_shell(name, "kept=1", "set kept 1"));
        for word in ["break", "continue"] {
            let run = shell.run_as(word, false, Some(Duration::from_secs(20)));
            assert!(
                !run.outcome.timed_out && !run.outcome.shell_ended,
                "{name}: {word}"
            );
        }
        assert_eq!(shell.run("echo $kept").text(), "1\n", "{name}");
    }
}

#[test]
fn descriptors_are_all_the_users_and_persist() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    for name in posix_shells() {
        let file = directory.path().join(name);
        let mut shell = Shell::start(name);
        let most = if name == "bash" { 12 } else { 9 };
        for fd in 3..=most {
            shell.run(format!("exec {fd}>>{}", file.display()));
            shell.run(format!("echo {fd} >&{fd}"));
        }
        let expected: Vec<String> = (3..=most).map(|fd: i32| fd.to_string()).collect();
        let written = lines(&std::fs::read(&file).expect("it was written"));
        assert_eq!(written, expected, "{name}");
    }
}

#[test]
fn commands_and_background_jobs_see_no_descriptor_but_the_three() {
    for name in shells() {
        // Something of ours that must not leak.
        let held = std::fs::File::open("/").expect("the root can be opened");
        rustix::io::fcntl_setfd(&held, rustix::io::FdFlags::empty()).expect("a flag can be set");
        let mut shell = Shell::start(name);
        let list = "sh -c 'ls /proc/$$/fd'";
        let run = shell.run(format!("{list}; {list} & wait"));
        assert_eq!(run.text(), "0\n1\n2\n0\n1\n2\n", "{name}");
        if name != "fish" {
            let run = shell.run("( sh -c 'ls /proc/$PPID/fd'; : ) & wait");
            let high = lines(&run.stdout)
                .iter()
                .filter(|fd| fd.parse::<u32>().is_ok_and(|fd| fd > 2))
                .count();
            // zsh keeps a copy of its own.
            assert!(high == 0 || name == "zsh", "{name}: {}", run.text());
        }
    }
}

fn every_byte() -> Vec<u8> {
    (1..=255).collect()
}

#[test]
fn arguments_pass_byte_for_byte() {
    for name in shells() {
        let mut shell = Shell::start(name);
        let arguments: Vec<OsString> = [
            b"/usr/bin/printf".to_vec(),
            b"%s\\0".to_vec(),
            every_byte(),
            Vec::new(),
            b"\n".to_vec(),
            b"a\n\nb ".to_vec(),
            b"-n".to_vec(),
            b"'\\''\"$x`".to_vec(),
            b"\xe2".to_vec(),
            b"=ls ~ * ? [a] {a,b} !".to_vec(),
            b"\\".to_vec(),
        ]
        .into_iter()
        .map(OsString::from_vec)
        .collect();
        let line = quote_arguments(&ShellName::new(name), &arguments).expect("it can be quoted");
        let mut expected = Vec::new();
        for argument in arguments.iter().skip(2) {
            expected.extend(argument.as_bytes());
            expected.push(0);
        }
        let run = shell.run(line);
        assert!(
            run.stdout == expected,
            "{name}: {:?}",
            String::from_utf8_lossy(&run.stdout)
        );
    }
}

#[test]
fn an_argument_vector_that_begins_with_a_keyword_names_a_command() {
    for name in shells() {
        let mut shell = Shell::start(name);
        for word in ["if", "end", "while", "a=b"] {
            let arguments = [OsString::from(word), OsString::from("then")];
            let line = quote_arguments(&ShellName::new(name), &arguments).expect("it is quoted");
            assert_eq!(shell.run(line).outcome.exit_code, 127, "{name}: {word}");
        }
    }
}

#[test]
fn variables_pass_byte_for_byte() {
    for name in shells() {
        let values = [every_byte(), Vec::new(), b"a\nb=c".to_vec()];
        let mut shell = Shell::start_with(name, |spec| {
            spec.env = values
                .iter()
                .enumerate()
                .map(|(n, value)| (format!("V{n}").into(), OsString::from_vec(value.clone())))
                .collect();
        });
        let run = shell.run("env -0");
        for (n, value) in values.iter().enumerate() {
            let mut entry = format!("V{n}=").into_bytes();
            entry.extend(value);
            assert!(
                run.stdout.split(|b| *b == 0).any(|found| found == entry),
                "{name}: V{n}"
            );
        }
        assert!(!run.text().contains("__deployx"), "{name}");
    }
}

#[test]
fn names_that_cannot_be_variables_and_nul_bytes_are_refused() {
    for (name, value) in [("", "x"), ("a=b", "x"), ("a\0", "x"), ("a", "x\0")] {
        let mut wrong = spec("sh", Output::Stream(Arc::new(Collected::default())));
        wrong.env = vec![(name.into(), value.into())];
        let error = Session::start(wrong).err().expect("it is refused");
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    }
    let mut shell = Shell::start("sh");
    let error = shell
        .session
        .run(OsStr::new("echo a\0b"), false, None, &Cancel::default())
        .expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
}

#[test]
fn drivers_variables_are_not_exported_under_allexport() {
    for name in posix_shells() {
        let mut shell = Shell::start(name);
        shell.run("set -a; mine=1");
        for before in ["true", "break"] {
            shell.run(before);
            let run = shell.run("env");
            assert!(run.text().contains("mine=1"), "{name}");
            assert!(!run.text().contains("__deployx"), "{name} after {before}");
        }
    }
}

#[test]
fn a_trace_shows_the_commands_and_not_the_driver() {
    for name in posix_shells() {
        let mut shell = Shell::start(name);
        shell.run("set -x");
        let run = shell.run("echo one");
        let trace = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(trace.contains("echo one"), "{name}: {trace}");
        assert!(
            !trace.contains("__deployx") && !trace.contains("/proc"),
            "{name}: {trace}"
        );
    }
}

#[test]
fn start_up_files_are_not_read_but_programs_see_their_variables() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let file = directory.path().join("startup");
    std::fs::write(&file, "echo STARTED\n").expect("a file can be written");
    std::fs::copy(&file, directory.path().join(".zshenv")).expect("a file can be copied");
    for name in shells() {
        let mut shell = Shell::start_with(name, |spec| {
            spec.env = vec![
                ("BASH_ENV".into(), file.clone().into()),
                ("ENV".into(), file.clone().into()),
                ("ZDOTDIR".into(), directory.path().into()),
            ];
        });
        let run = shell.run("env | grep -c -e ^BASH_ENV= -e ^ENV= -e ^ZDOTDIR=");
        assert_eq!(run.text(), "3\n", "{name}");
    }
}

#[test]
fn a_large_command_is_run_whole() {
    for name in shells() {
        let mut shell = Shell::start(name);
        let text = "x\n'\\".repeat(60_000);
        let arguments = [OsString::from(":"), OsString::from(&text)];
        let quoted = quote_arguments(&ShellName::new(name), &arguments).expect("it can be quoted");
        let mut command = quoted;
        command.push("; echo end");
        assert_eq!(shell.run(command).text(), "end\n", "{name}");
    }
}

#[derive(Default)]
struct Counting(AtomicU64);

impl OutputSink for Counting {
    fn write(&self, _: OutputStream, piece: &[u8]) {
        self.0.fetch_add(piece.len() as u64, Ordering::Relaxed);
    }
}

#[test]
fn memory_stays_bounded_however_much_a_command_writes() {
    const VARIABLE: &str = "DEPLOYX_TEST_OUTPUT_MB";
    let megabytes: u64 = std::env::var(VARIABLE)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(64);
    if !is_helper("memory") {
        assert!(
            helper(
                "memory",
                "memory_stays_bounded_however_much_a_command_writes"
            )
            .status()
            .expect("this program runs again")
            .success()
        );
        return;
    }
    for name in shells() {
        let sink = Arc::new(Counting::default());
        let mut session =
            Session::start(spec(name, Output::Stream(sink.clone()))).expect("the shell starts");
        let bytes = megabytes << 20;
        let command = format!("head -c {bytes} /dev/zero; head -c {bytes} /dev/zero >&2");
        session
            .run(OsStr::new(&command), false, None, &Cancel::default())
            .expect("the command runs");
        assert_eq!(sink.0.load(Ordering::Relaxed), 2 * bytes, "{name}");
    }
    let status = std::fs::read_to_string("/proc/self/status").expect("it can be read");
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .expect("it is there");
    let kilobytes: u64 = peak
        .split_whitespace()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .expect("it has a number");
    assert!(kilobytes < 64 * 1024, "{peak}");
}

const HELPER: &str = "DEPLOYX_TEST_HELPER";

fn is_helper(role: &str) -> bool {
    std::env::var_os(HELPER).is_some_and(|value| value == role)
}

/// This program again, running one test in another role.
fn helper(role: &str, test: &str) -> std::process::Command {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = std::process::Command::new(program);
    command
        .args([test, "--exact", "--nocapture"])
        .env(HELPER, role);
    command
}

#[test]
fn the_whole_tree_ends_when_this_process_is_killed() {
    const FILE: &str = "DEPLOYX_TEST_FILE";
    const NAME: &str = "DEPLOYX_TEST_SHELL";
    if is_helper("victim") {
        let file = PathBuf::from(std::env::var_os(FILE).expect("it is set"));
        let name = std::env::var(NAME).expect("it is set");
        let output = Output::Stream(Arc::new(Collected::default()));
        let mut session = Session::start(spec(&name, output)).expect("the shell starts");
        let command = stubborn_tree(&file);
        session
            .run(OsStr::new(&command), false, None, &Cancel::default())
            .expect("the command runs");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory can be made");
    for name in shells() {
        let file = directory.path().join(name);
        let mut victim = helper("victim", "the_whole_tree_ends_when_this_process_is_killed")
            .env(FILE, &file)
            .env(NAME, name)
            .spawn()
            .expect("this program runs again");
        let pids = await_lines(&file, 3);
        victim.kill().expect("it can be killed");
        victim.wait().expect("it can be waited for");
        assert_end(&pids);
    }
}

#[test]
fn no_child_of_this_process_is_left_after_a_session() {
    if !is_helper("zombies") {
        assert!(
            helper(
                "zombies",
                "no_child_of_this_process_is_left_after_a_session"
            )
            .status()
            .expect("this program runs again")
            .success()
        );
        return;
    }
    for name in shells() {
        let mut shell = Shell::start(name);
        shell.run("sh -c 'sleep 0.01 & exit' & true");
        shell.run("exit 1");
        shell.run("true");
        drop(shell);
        let me = std::process::id();
        let children = std::fs::read_dir("/proc/self/task")
            .expect("it can be read")
            .map(|task| task.expect("it can be read").path().join("children"))
            .map(|path| std::fs::read_to_string(path).expect("it can be read"))
            .collect::<String>();
        assert_eq!(children.trim(), "", "{name}: children of {me}");
    }
}

#[test]
fn a_session_works_from_a_blocking_task_of_an_asynchronous_program() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(async {
        let task = tokio::task::spawn_blocking(|| Shell::start("sh").run("echo in").text());
        assert_eq!(task.await.expect("no panic"), "in\n");
    });
}

#[test]
fn inherited_output_goes_where_this_process_writes() {
    if is_helper("inherit") || is_helper("redirect") {
        let output = Output::Inherit {
            stdout_to_stderr: is_helper("redirect"),
        };
        let mut session = Session::start(spec("sh", output)).expect("the shell starts");
        session
            .run(OsStr::new("echo MARK"), true, None, &Cancel::default())
            .expect("the command runs");
        return;
    }
    for (role, to_stdout) in [("inherit", true), ("redirect", false)] {
        let output = helper(role, "inherited_output_goes_where_this_process_writes")
            .output()
            .expect("this program runs again");
        let has_mark = |bytes: &[u8]| lines(bytes).iter().any(|line| line.ends_with("MARK"));
        assert_eq!(has_mark(&output.stdout), to_stdout, "{role}");
        assert_eq!(has_mark(&output.stderr), !to_stdout, "{role}");
    }
}

/// What takes from a shell what its driver needs, and whether the command's own status is known.
fn crippling(name: &str) -> Vec<(&'static str, bool)> {
    let mut commands = vec![("ulimit -n 3", true), ("ulimit -n 0", true)];
    match name {
        "bash" => commands.extend([
            ("set -r", true),
            ("set -n", true),
            ("shopt -s extdebug; trap false DEBUG", true),
        ]),
        "zsh" => commands.extend([
            ("setopt restricted", true),
            ("set -n", true),
            ("trap 'setopt errexit' DEBUG", true),
            // zsh gives up with a status of its own.
            ("ulimit -n 8", false),
        ]),
        "fish" => {}
        _ => commands.extend([("set -n", true), ("ulimit -n 8", true)]),
    }
    commands
}

/// Whatever goes wrong with it, a shell under test does not run for ever.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(60));

#[test]
fn a_shell_that_can_no_longer_be_driven_ends_with_the_commands_status() {
    for name in shells() {
        for (command, status_known) in crippling(name) {
            let mut shell = Shell::start(name);
            let run = shell.run_as(command, true, PATIENCE);
            assert!(!run.outcome.timed_out, "{name}: {command}");
            assert!(run.outcome.shell_ended, "{name}: {command}");
            if status_known {
                assert_eq!(run.outcome.exit_code, 0, "{name}: {command}");
            }
            let lines = lines(&run.stderr).len();
            assert!(lines < 8, "{name}: {command} gives {lines} lines of errors");
        }
    }
}

#[test]
fn a_failing_command_that_cripples_its_shell_keeps_its_status() {
    for name in shells() {
        let mut shell = Shell::start(name);
        let run = shell.run_as("ulimit -n 3; sh -c 'exit 5'", false, PATIENCE);
        assert!(!run.outcome.timed_out, "{name}");
        // What cannot be started for lack of descriptors fails in its own way.
        assert_ne!(run.outcome.exit_code, 0, "{name}");
        assert_eq!(shell.run("echo next").text(), "next\n", "{name}");
    }
    for (name, command) in [
        ("bash", "set -r; (exit 5)"),
        ("zsh", "setopt restricted; (exit 5)"),
    ] {
        if find_shell(&ShellName::new(name)).is_ok() {
            let mut shell = Shell::start(name);
            let run = shell.run_as(command, false, PATIENCE);
            assert_eq!(run.outcome.exit_code, 5, "{name}");
            assert_eq!(shell.run("echo next").text(), "next\n", "{name}");
        }
    }
}

#[test]
fn what_a_command_leaves_in_the_drivers_variables_changes_nothing() {
    for name in shells() {
        let posix = "__deployx_e=1; __deployx_s=4; __deployx_c='echo forged'; __deployx_j=1; \
                     __deployx_k=; __deployx_l=7; __deployx_a=1; __deployx_t=";
        let fish = "set -g __deployx_e 1; set -g __deployx_s 4; set -g __deployx_c 'echo forged'; \
                    set -g __deployx_k; set -g __deployx_x 3";
        let mut shell = Shell::start(name);
        shell.run("echo begun");
        let run = shell.run_as(per_shell(name, posix, fish), false, PATIENCE);
        assert_eq!(run.outcome.exit_code, 0, "{name}");
        let run = shell.run_as("echo next; sh -c 'exit 3'", false, PATIENCE);
        assert_eq!(run.text(), "next\n", "{name}");
        assert_eq!(run.outcome.exit_code, 3, "{name}");
        let unset = "unset __deployx_e __deployx_s __deployx_c __deployx_j __deployx_k; set -u";
        let erase = "set -e __deployx_e __deployx_s __deployx_c __deployx_k";
        shell.run_as(per_shell(name, unset, erase), false, PATIENCE);
        let run = shell.run_as("echo last", true, PATIENCE);
        assert_eq!(run.text(), "last\n", "{name}");
        assert_eq!(run.outcome.exit_code, 0, "{name}");
    }
}

#[test]
fn a_command_of_many_lines_survives_an_earlier_ones_assignments() {
    for name in posix_shells() {
        let mut shell = Shell::start(name);
        shell.run_as("__deployx_n=x", false, PATIENCE);
        let run = shell.run_as("echo one\necho two", false, PATIENCE);
        assert_eq!(run.text(), "one\ntwo\n", "{name}");
    }
}

#[test]
fn commands_arrive_whole_whatever_the_field_separator_is() {
    for name in posix_shells() {
        for separator in [
            "", " ", "_", "=", "'", "#", ".", "#. '", "_ ", "\\", "\u{1}", "\u{7f}", "$;x",
        ] {
            let mut shell = Shell::start_with(name, |spec| {
                spec.env = vec![("SEPARATOR".into(), separator.into())];
            });
            for keep in ["", "readonly IFS"] {
                shell.run_as(format!("IFS=$SEPARATOR; {keep}"), false, PATIENCE);
                let run = shell.run_as(" printf '%s|' ' a_b=\\#.' \"'.\"", false, PATIENCE);
                assert_eq!(run.text(), " a_b=\\#.|'.|", "{name}: {separator:?}");
            }
        }
    }
}

#[test]
fn read_only_variables_of_the_shell_change_neither_results_nor_the_session() {
    for name in posix_shells() {
        let mut shell = Shell::start(name);
        shell.run("mine=1; readonly PWD OLDPWD IFS PATH");
        let run = shell.run_as("cd /usr || (exit 6)", false, PATIENCE);
        assert!(!run.outcome.timed_out, "{name}");
        let cwd = shell.session.cwd().expect("the directory is there");
        // Some shells have changed it before they notice that they cannot say so.
        assert!(["/", "/usr"].contains(&&*cwd.to_string()), "{name}: {cwd}");
        let run = shell.run_as("echo $mine", false, PATIENCE);
        assert_eq!(run.text(), "1\n", "{name}");
    }
}

#[test]
fn functions_that_fail_in_place_of_the_null_command_do_not_keep_a_session_from_ending() {
    for name in ["bash", "zsh"] {
        if find_shell(&ShellName::new(name)).is_ok() {
            let mut shell = Shell::start(name);
            let run = shell.run_as(":() { return 1; }; echo end", true, PATIENCE);
            assert_eq!(run.text(), "end\n", "{name}");
            assert!(!run.outcome.timed_out, "{name}");
        }
    }
}

#[test]
fn a_break_followed_by_what_cripples_the_shell_ends_it() {
    for name in posix_shells() {
        let mut shell = Shell::start(name);
        shell.run_as("break", false, PATIENCE);
        let run = shell.run_as("ulimit -n 3; break", false, PATIENCE);
        assert!(!run.outcome.timed_out, "{name}");
        assert_eq!(shell.run("echo next").text(), "next\n", "{name}");
    }
}

#[test]
fn an_environment_in_which_bash_runs_nothing_is_named_in_the_error() {
    if find_shell(&ShellName::new("bash")).is_err() {
        return println!("SKIPPED bash: not installed");
    }
    let mut shell = Shell::start_with("bash", |spec| {
        spec.env = vec![("SHELLOPTS".into(), "braceexpand:noexec".into())];
    });
    let run = shell
        .session
        .run(OsStr::new("echo"), true, None, &Cancel::default());
    let error = run.expect_err("nothing can run");
    assert_eq!(error.kind(), ErrorKind::NotExecutable);
    assert!(error.context().contains("SHELLOPTS"), "{error}");
}
