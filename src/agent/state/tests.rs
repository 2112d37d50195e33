use super::*;
use crate::agent::wire::Reply;
use serde_json::json;
use std::time::Duration;

fn site() -> (tempfile::TempDir, State) {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(&dir.path().join("agent")).unwrap();
    (dir, state)
}

fn result(id: &str) -> Reply {
    Reply::new("deployment_command_completed", json!({ "command_id": id }))
}

fn accept(state: &State, id: &str) -> Acceptance {
    let mut outcome = state.accept(&[(Kind::Command, id, "{}".into())]).unwrap();
    outcome.remove(0)
}

#[test]
fn an_id_is_new_only_once() {
    let (dir, state) = site();
    assert_eq!(accept(&state, "../a b"), Acceptance::New);
    assert_eq!(accept(&state, "../a b"), Acceptance::Running);
    let batch = state
        .accept(&[(Kind::Batch, "../a b", "{}".into())])
        .unwrap();
    assert_eq!(batch, [Acceptance::New]);
    state
        .finish(Kind::Command, "../a b", &result("../a b"))
        .unwrap();
    drop(state);
    let state = State::open(&dir.path().join("agent")).unwrap();
    let Acceptance::Done(number) = accept(&state, "../a b") else {
        panic!("carried out again");
    };
    let stored = state.undelivered(number - 1, 1).unwrap().remove(0);
    assert_eq!(stored.event, "deployment_command_completed");
    assert_eq!(stored.payload, r#"{"command_id":"../a b"}"#);
}

#[test]
fn a_result_that_is_asked_for_again_and_again_waits_once() {
    let (_dir, state) = site();
    accept(&state, "a");
    let first = state.finish(Kind::Command, "a", &result("a")).unwrap();
    let mut last = first;
    for _ in 0..5 {
        let Acceptance::Done(number) = accept(&state, "a") else {
            panic!("carried out again");
        };
        assert!(number > last, "it is sent again on a line that had it");
        last = number;
    }
    let bytes = result("a").payload.to_string().len() as u64;
    assert_eq!(state.waiting().unwrap(), (1, bytes));
}

#[test]
fn two_of_the_same_id_at_once_are_one() {
    let (_dir, state) = site();
    let twice = [
        (Kind::Command, "a", "{}".into()),
        (Kind::Command, "a", "{}".into()),
    ];
    assert_eq!(
        state.accept(&twice).unwrap(),
        [Acceptance::New, Acceptance::Running]
    );
}

#[test]
fn results_keep_their_order_until_they_are_delivered() {
    let (dir, state) = site();
    accept(&state, "a");
    accept(&state, "b");
    state.finish(Kind::Command, "b", &result("b")).unwrap();
    let rollback = Reply::new("rollback_result", json!({ "snapshot_id": "s" }));
    let second = state.post(&[rollback]).unwrap()[0];
    state.finish(Kind::Command, "a", &result("a")).unwrap();
    drop(state);
    let state = State::open(&dir.path().join("agent")).unwrap();
    let ids = |after| -> Vec<String> {
        let stored = state.undelivered(after, 10).unwrap();
        stored.into_iter().map(|one| one.payload).collect()
    };
    assert_eq!(
        ids(0),
        [
            r#"{"command_id":"b"}"#,
            r#"{"snapshot_id":"s"}"#,
            r#"{"command_id":"a"}"#
        ]
    );
    state.delivered(second).unwrap();
    assert_eq!(ids(0), [r#"{"command_id":"a"}"#]);
    assert_eq!(state.waiting().unwrap().0, 1);
}

#[test]
fn what_an_earlier_agent_left_is_known() {
    let (dir, state) = site();
    accept(&state, "waits");
    accept(&state, "runs");
    accept(&state, "done");
    state.start(Kind::Command, "runs").unwrap();
    state
        .finish(Kind::Command, "done", &result("done"))
        .unwrap();
    drop(state);
    let state = State::open(&dir.path().join("agent")).unwrap();
    let left: Vec<_> = state
        .unfinished()
        .unwrap()
        .into_iter()
        .map(|one| (one.id, one.started))
        .collect();
    assert_eq!(left, [("waits".into(), false), ("runs".into(), true)]);
}

#[test]
fn the_outbox_is_bounded_and_drops_the_oldest() {
    let (_dir, state) = site();
    for n in 0..10 {
        state
            .post(&[Reply::new("pin_result", json!({ "n": n }))])
            .unwrap();
    }
    assert_eq!(state.bound(3, u64::MAX >> 1).unwrap(), 7);
    let left = state.undelivered(0, 10).unwrap();
    assert_eq!(left[0].payload, r#"{"n":7}"#);
    assert_eq!(state.bound(100, 8).unwrap(), 2);
}

#[test]
fn results_are_kept_within_their_number_and_bytes_and_their_ids_beyond() {
    let (_dir, state) = site();
    let ids = ["a", "b", "c", "d"];
    for id in ids {
        accept(&state, id);
        let number = state.finish(Kind::Command, id, &result(id)).unwrap();
        if id != "a" {
            state.delivered(number).unwrap();
        }
        state.clock.advance(Duration::from_secs(1));
    }
    accept(&state, "a");
    let one = result("a").payload.to_string().len() as u64;
    for (bounds, kept) in [
        ((100, 10 * one), [true; 4]),
        ((3, 10 * one), [true; 4]),
        ((2, 10 * one), [true, false, true, true]),
        ((100, one * 3 / 2), [true, false, false, true]),
    ] {
        state.forget(3600.0, bounds).unwrap();
        let found = ids.map(|id| {
            let database = state.database();
            let mut rows = database
                .prepare("SELECT payload IS NOT NULL FROM accepted WHERE id = ?1")
                .unwrap();
            rows.query_row([id], |row| row.get::<_, bool>(0)).unwrap()
        });
        assert_eq!(found, kept, "{bounds:?}; the outbox needs the first");
    }
    assert_eq!(accept(&state, "b"), Acceptance::Forgotten);
}

#[test]
fn ids_are_forgotten_only_when_their_time_is_over() {
    let (_dir, state) = site();
    let hour = Duration::from_secs(3600);
    accept(&state, "old");
    let number = state.finish(Kind::Command, "old", &result("old")).unwrap();
    state.clock.advance(hour * 2);
    state.forget(3600.0, (100, 1000)).unwrap();
    assert!(
        matches!(accept(&state, "old"), Acceptance::Done(_)),
        "not delivered yet"
    );
    state.delivered(number + 10).unwrap();
    state.forget(3.0 * 3600.0, (100, 1000)).unwrap();
    assert!(
        matches!(accept(&state, "old"), Acceptance::Done(_)),
        "still young"
    );
    state.delivered(number + 10).unwrap();
    state.forget(3600.0, (100, 1000)).unwrap();
    assert_eq!(accept(&state, "old"), Acceptance::New);
}

#[test]
fn ids_that_another_clock_dated_are_not_forgotten_at_once() {
    // As agents wrote it whose hosts took themselves to be in the year 2099, or in 1970.
    for at in [4.1e9, 5.0] {
        let (dir, state) = site();
        accept(&state, "a");
        let number = state.finish(Kind::Command, "a", &result("a")).unwrap();
        state.delivered(number).unwrap();
        let dated = state
            .database()
            .execute("UPDATE accepted SET at = ?1", [at]);
        assert_eq!(dated, Ok(1));
        drop(state);
        let state = State::open(&dir.path().join("agent")).unwrap();
        state.forget(3600.0, (100, 1000)).unwrap();
        assert!(state.knows(Kind::Command, "a").unwrap(), "dated {at}");
        state.clock.advance(Duration::from_secs(7200));
        state.forget(3600.0, (100, 1000)).unwrap();
        assert!(!state.knows(Kind::Command, "a").unwrap(), "dated {at}");
    }
}

#[test]
fn a_directory_that_others_can_write_to_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    let error = State::open(&path).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsafeStore);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    let state = State::open(&path).unwrap();
    let error = State::open(&path).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    let id = state.own_id().unwrap();
    assert_eq!(state.own_id().unwrap(), id);
}

#[test]
fn what_the_agent_keeps_is_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    // As an earlier version left it.
    fs::write(path.join("agent.sqlite"), "").unwrap();
    fs::set_permissions(path.join("agent.sqlite"), fs::Permissions::from_mode(0o644)).unwrap();
    let state = State::open(&path).unwrap();
    accept(&state, "a");
    let (_file, output) = state.new_output().unwrap();
    let mode = |file: &Path| fs::metadata(file).unwrap().permissions().mode() & 0o777;
    for name in ["agent.sqlite", "agent.sqlite-wal", "agent.sqlite-shm"] {
        assert_eq!(mode(&path.join(name)), 0o600, "{name}");
    }
    assert_eq!(mode(&output), 0o600);
}

#[test]
fn an_id_that_cannot_be_read_is_not_replaced() {
    let (dir, state) = site();
    let id = state.own_id().unwrap();
    let file = dir.path().join("agent/agent_id");
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{id}\n"));
    // No text: reading fails for whoever runs this.
    fs::write(&file, b"\xff\xfe").unwrap();
    assert!(state.own_id().is_err());
    assert_eq!(fs::read(&file).unwrap(), b"\xff\xfe");
    fs::write(&file, "").unwrap();
    assert_ne!(state.own_id().unwrap(), id);
}

#[test]
fn a_change_is_known_until_its_results_are_kept() {
    let (dir, state) = site();
    let first = state.begin_change("rollback_command", "{}").unwrap();
    let second = state.begin_change("rollback_command", "{}").unwrap();
    state.start_change(second).unwrap();
    drop(state);
    let state = State::open(&dir.path().join("agent")).unwrap();
    let left = |state: &State| -> Vec<(i64, bool)> {
        let left = state.unfinished_changes().unwrap();
        left.iter().map(|one| (one.number, one.started)).collect()
    };
    assert_eq!(left(&state), [(first, false), (second, true)]);
    let results = [result("a"), result("b")];
    let numbers = state.finish_change(first, &results).unwrap();
    assert_eq!(left(&state), [(second, true)]);
    let kept = state.undelivered(0, 10).unwrap();
    let kept: Vec<i64> = kept.iter().map(|one| one.number).collect();
    assert_eq!(kept, numbers);
}

#[test]
fn the_progress_of_a_batch_is_known_until_its_result_is_kept() {
    let (_dir, state) = site();
    state.accept(&[(Kind::Batch, "b", "{}".into())]).unwrap();
    state.begin_step("b", 0).unwrap();
    state.end_step("b", 0, "done").unwrap();
    state.begin_step("b", 1).unwrap();
    let steps: Vec<_> = state
        .steps("b")
        .unwrap()
        .into_iter()
        .map(|one| (one.position, one.outcome))
        .collect();
    assert_eq!(steps, [(0, Some("done".into())), (1, None)]);
    assert_eq!(state.steps("other").unwrap(), []);
    state.finish(Kind::Batch, "b", &result("b")).unwrap();
    assert_eq!(state.steps("b").unwrap(), []);
}
