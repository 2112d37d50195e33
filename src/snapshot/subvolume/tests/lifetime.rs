//! How long a snapshot lives, and who may take it up.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::world::{World, at, paths, said, seal};
use crate::error::ErrorKind;
use crate::infer::Depth;
use crate::path::{AbsPath, WirePath};
use crate::snapshot::SnapshotStrategy;
use crate::snapshot::probe::Probes;
use crate::snapshot::subvolume::token::Token;
use crate::snapshot::subvolume::{NAME, Subvolume};
use crate::store::{SnapshotMeta, SnapshotState};

/// What lies on the store's shelf on the volume.
fn shelf(world: &World) -> Vec<String> {
    let volume = AbsPath::new(world.volume.root()).unwrap();
    let shelf = world.store.sibling(&volume).unwrap().join("subvolumes");
    let Ok(entries) = fs::read_dir(shelf) else {
        return Vec::new();
    };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// The strategy as a later process would have it.
fn later(world: &World) -> Subvolume {
    Subvolume::new(
        world.store.clone(),
        Arc::new(Probes::new(world.store.path())),
    )
}

#[test]
fn the_snapshot_goes_when_the_capture_is_finished() {
    let Some(world) = World::new("the_snapshot_goes_when_the_capture_is_finished") else {
        return;
    };
    let capture = world.begin(&world.whole());
    let names = shelf(&world);
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(names[1], format!("{}.claim", names[0]));
    assert_eq!(
        capture.content_beside().map(AbsPath::as_path),
        Some(world.volume.root())
    );
    capture.finish();
    assert!(shelf(&world).is_empty());
}

#[test]
fn a_capture_is_taken_up_by_another_process() {
    let Some(world) = World::new("a_capture_is_taken_up_by_another_process") else {
        return;
    };
    fs::create_dir(world.tree.join("d")).unwrap();
    fs::write(world.tree.join("d/f"), "old").unwrap();
    fs::write(world.tree.join("d/.deployxignore"), "skip\n").unwrap();
    world.volume.make_subvolume("tree/inner");
    let capture = world.begin(&world.whole());
    let (token, unobserved) = (capture.token(), capture.unobserved().to_vec());
    // As after a death: nothing is finished, the claim is free.
    drop(capture);
    fs::write(world.tree.join("d/f"), "new").unwrap();
    fs::write(world.tree.join("d/skip"), "new").unwrap();
    fs::remove_file(world.tree.join("d/.deployxignore")).unwrap();
    let mut capture = later(&world).resume(&token).unwrap();
    assert_eq!(capture.unobserved(), unobserved);
    let files = world.files(false);
    let sealed = seal(&mut *capture, &files);
    assert_eq!(
        paths(&sealed, &world.tree),
        ["d", "d/.deployxignore", "d/f"]
    );
    // Again, as after an error: into the same files, with the same outcome.
    let again = seal(&mut *capture, &files);
    assert_eq!(said(&again, &files), said(&sealed, &files));
    assert_eq!(capture.exclusions().files[0].1, "skip\n");
    capture.finish();
    assert!(shelf(&world).is_empty());
    assert_eq!(
        later(&world).resume(&token).err().unwrap().kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn a_token_that_was_damaged_or_forged_is_refused() {
    let Some(world) = World::new("a_token_that_was_damaged_or_forged_is_refused") else {
        return;
    };
    let capture = world.begin(&world.whole());
    let bytes = capture.token();
    drop(capture);
    for length in 0..bytes.len() {
        let error = world.strategy.resume(&bytes[..length]).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{length}");
    }
    let token = Token::decode(&bytes).unwrap();
    let forge = |change: fn(&mut Token)| {
        let mut forged = token.clone();
        change(&mut forged);
        world
            .strategy
            .resume(&forged.encode())
            .err()
            .map(|e| e.kind())
    };
    let corrupt = Some(ErrorKind::Corrupt);
    assert_eq!(
        forge(|t| t.volumes[0].snapshot = "../../tree".into()),
        corrupt
    );
    assert_eq!(forge(|t| t.volumes[0].snapshot_uuid[0] ^= 1), corrupt);
    assert_eq!(forge(|t| t.scope[0].2 = 7), corrupt);
    assert_eq!(
        forge(|t| t.volumes[0].root = AbsPath::new("/elsewhere").unwrap()),
        corrupt
    );
    assert_eq!(forge(|_| ()), None);
}

#[test]
fn snapshots_that_nobody_needs_are_swept_and_no_others() {
    let Some(world) = World::new("snapshots_that_nobody_needs_are_swept_and_no_others") else {
        return;
    };
    let whole = world.whole();
    // Of a process that died before its token was stored.
    drop(world.begin(&whole));
    let orphan = shelf(&world)[0].clone();
    // Of one that died later, of one that lives.
    let died = world.begin(&whole);
    assert!(!shelf(&world).contains(&orphan), "it was not swept");
    let command = WirePath::Text("true".into());
    let meta = SnapshotMeta::new(command, "bash", AbsPath::new("/").unwrap());
    let mut open = world.store.begin(meta).unwrap();
    open.update(|meta| {
        meta.state = SnapshotState::Captured;
        meta.capture_tokens = vec![(NAME.into(), BASE64.encode(died.token()))];
    })
    .unwrap();
    drop(died);
    let needed = shelf(&world)[0].clone();
    let living = world.begin(&whole);
    let last = world.begin(&whole);
    let names = shelf(&world);
    assert!(names.contains(&needed));
    assert_eq!(names.len(), 6, "{names:?}");
    living.finish();
    last.finish();
    later(&world).sweep().unwrap();
    assert!(shelf(&world).contains(&needed));
    open.discard().unwrap();
    later(&world).sweep().unwrap();
    assert!(shelf(&world).is_empty());
}

#[test]
fn a_begin_that_fails_leaves_nothing() {
    let Some(world) = World::new("a_begin_that_fails_leaves_nothing") else {
        return;
    };
    let elsewhere = AbsPath::new("/proc").unwrap();
    let scope = [
        at(&world.tree, Depth::Tree),
        at(elsewhere.as_path(), Depth::Tree),
    ];
    let request = crate::snapshot::CaptureRequest {
        snapshot: "",
        scope: &scope,
        exclusions: crate::snapshot::Exclusions::default(),
        limits: world.limits,
        room: &|needed| needed,
        cancel: &crate::execute::Cancel::default(),
        progress: &crate::progress::Silent,
    };
    let error = world.strategy.begin(request).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(shelf(&world).is_empty());
}

#[test]
fn the_probe_says_where_it_works_and_why_not() {
    let Some(world) = World::new("the_probe_says_where_it_works_and_why_not") else {
        return;
    };
    let probe = |path: &Path| later(&world).probe(&AbsPath::new(path).unwrap());
    assert!(probe(&world.tree).unwrap().contains("can be snapshotted"));
    assert!(probe(&world.tree.join("not/there/yet")).is_ok());
    assert!(shelf(&world).is_empty());
    assert_eq!(probe(Path::new("/proc")), Err("not on btrfs".into()));
}
