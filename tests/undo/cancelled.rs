//! Cancelling at every moment before, between and after commands.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use deployx::ErrorKind;
use deployx::engine::{Engine, EngineConfig, RunContext};
use deployx::execute::{Cancel, Output};
use deployx::path::AbsPath;
use deployx::progress::{Event, Phase, Progress};
use deployx::request::{BatchRequest, RunRequest};
use deployx::store::ListFilter;

use crate::common::{Site, shell, text};

/// Cancels when `when` says so of an event and its number.
struct CancelWhen<F> {
    cancel: Cancel,
    seen: AtomicUsize,
    when: F,
}

impl<F: Fn(usize, &Event) -> bool + Sync> CancelWhen<F> {
    fn new(when: F) -> Self {
        Self {
            cancel: Cancel::default(),
            seen: AtomicUsize::new(0),
            when,
        }
    }

    fn context(&self) -> RunContext<'_> {
        RunContext::new(Output::inherit(), &self.cancel, self)
    }
}

impl<F: Fn(usize, &Event) -> bool + Sync> Progress for CancelWhen<F> {
    fn event(&self, event: Event) {
        let number = self.seen.fetch_add(1, Ordering::SeqCst);
        if (self.when)(number, &event) {
            self.cancel.cancel();
        }
    }
}

fn engine(site: &Site) -> Engine {
    fs::create_dir_all(site.tree.join("beneath")).unwrap();
    for at in 0..60 {
        fs::write(
            site.tree.join(format!("beneath/{at}")),
            format!("content {at}"),
        )
        .unwrap();
    }
    Engine::open(EngineConfig::new(&site.store)).unwrap()
}

fn absolute(path: &Path) -> AbsPath {
    AbsPath::new(path).unwrap()
}

fn request(site: &Site, strategy: &str) -> RunRequest {
    let mut request = RunRequest::new("rm beneath/1; touch ran", absolute(&site.tree));
    request.snapshot.strategies = vec![strategy.into()];
    request.snapshot.replace_paths = vec![absolute(&site.tree)];
    request
}

fn begins(event: &Event, which: Phase) -> bool {
    matches!(event, Event::Begin { phase, .. } if *phase == which)
}

#[test]
fn cancelling_at_any_moment_of_a_capture_runs_nothing_and_leaves_nothing() {
    // Those that work everywhere.
    for strategy in ["copy", "journal"] {
        let site = Site::new();
        let engine = engine(&site);
        let works = engine.run(
            &request(&site, strategy),
            CancelWhen::new(|_, _| false).context(),
        );
        let id = works.unwrap().snapshot_id.unwrap();
        assert!(site.tree.join("ran").exists(), "{strategy}");
        // Everything is to be secured anew, as far as the strategy does that.
        shell(
            &site.tree,
            "rm ran; for i in beneath/*; do echo more >> $i; done; echo 1 > beneath/1",
        );
        let mut moments = 0;
        loop {
            let at_event = CancelWhen::new(|number, _| number == moments);
            let ran = engine.run(&request(&site, strategy), at_event.context());
            let Err(error) = ran else { break };
            assert_eq!(error.kind(), ErrorKind::Cancelled, "{strategy}: {error}");
            assert!(
                error.to_string().contains("before the command started"),
                "{error}"
            );
            assert!(
                !site.tree.join("ran").exists(),
                "{strategy} at event {moments}"
            );
            let (all, damaged) = engine.list(&ListFilter::default()).unwrap();
            let ids: Vec<String> = all.iter().map(|one| one.snapshot_id.clone()).collect();
            assert_eq!(
                ids,
                std::slice::from_ref(&id),
                "{strategy} at event {moments}"
            );
            assert!(damaged.is_empty());
            moments += 1;
            shell(&site.tree, "for i in beneath/*; do echo more >> $i; done");
        }
        assert!(
            moments > 0,
            "{strategy}: there is a moment before the command"
        );
    }
}

#[test]
fn a_command_after_a_cancelled_capture_is_undone_exactly() {
    let site = Site::new();
    let engine = engine(&site);
    let middle = CancelWhen::new(|_, event| begins(event, Phase::Secure));
    let error = engine.run(&request(&site, "copy"), middle.context());
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Cancelled);
    site.remember();
    let output = site.run("rm -r beneath; echo x > new");
    assert!(output.status.success(), "{}", text(&output));
    site.undo();
    assert_eq!(site.differences(), "");
}

#[test]
fn cancelling_while_a_command_is_sealed_keeps_its_record() {
    let site = Site::new();
    let engine = engine(&site);
    let late = CancelWhen::new(|_, event| begins(event, Phase::Seal));
    let report = engine.run(&request(&site, "copy"), late.context()).unwrap();
    assert!(late.cancel.is_cancelled());
    assert!(
        report.success && report.snapshot_error.is_none(),
        "{report:?}"
    );
    assert_eq!((report.changes.created, report.changes.deleted), (1, 1));
    site.undo();
    assert!(site.tree.join("beneath/1").exists() && !site.tree.join("ran").exists());
}

#[test]
fn a_batch_cancelled_between_two_commands_tells_of_those_that_ran() {
    let site = Site::new();
    let engine = engine(&site);
    let mut run = request(&site, "copy");
    run.command = "".into();
    let batch = BatchRequest {
        batch_id: Some("one".into()),
        commands: vec![
            "touch first".into(),
            "touch second".into(),
            "touch third".into(),
        ],
        run,
        keep_going: true,
    };
    let scans = AtomicUsize::new(0);
    let second = CancelWhen::new(|_, event| {
        begins(event, Phase::Scan) && scans.fetch_add(1, Ordering::SeqCst) == 1
    });
    let report = engine.batch(&batch, second.context()).unwrap();
    assert_eq!(report.results.len(), 1);
    assert!(report.results[0].success && !report.success);
    assert_eq!(report.skipped.len(), 2);
    assert_eq!(report.exit_code, 130);
    assert!(site.tree.join("first").exists() && !site.tree.join("second").exists());
}

#[test]
fn a_capture_of_many_files_needs_few_descriptors() {
    let site = Site::new();
    for directory in 0..24 {
        let path = site.tree.join(directory.to_string());
        fs::create_dir(&path).unwrap();
        for file in 0..1000 {
            fs::write(path.join(file.to_string()), "content").unwrap();
        }
    }
    let mut command = std::process::Command::new("sh");
    let program = site.deployx();
    command
        .args(["-c", "ulimit -n 44 && exec \"$@\"", "sh"])
        .arg(program.get_program())
        .args(program.get_args())
        .args(["run", "--require-snapshot", "--strategy", "copy", "--cwd"])
        .arg(&site.tree)
        .args(["--", "rm -r 0 && touch ran"]);
    // Each thread may hold a few.
    command.env("RAYON_NUM_THREADS", "2");
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        !text(&output).contains("does not cover"),
        "{}",
        text(&output)
    );
    assert!(site.tree.join("ran").exists());
    site.undo();
    assert!(site.tree.join("0/999").exists());
}
