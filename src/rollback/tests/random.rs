//! Random trees and random commands.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::world::{World, assert_same, touch};
use crate::request::OnConflict;

/// One thing done to a tree, on paths from a small set so that they meet.
#[derive(Debug, Clone)]
enum Deed {
    Write(usize, u8),
    MakeDir(usize),
    Remove(usize),
    Rename(usize, usize),
    Link(usize, usize),
    Symlink(usize, usize),
    Mode(usize, u32),
    Touch(usize, i64),
}

const PATHS: [&str; 10] = [
    "a", "b", "a/a", "a/b", "b/a", "b/b", "a/a/a", "a/b/c", "b/a/x", "c",
];

fn deed() -> impl Strategy<Value = Deed> {
    let path = 0..PATHS.len();
    prop_oneof![
        4 => (path.clone(), any::<u8>()).prop_map(|(p, c)| Deed::Write(p, c)),
        4 => path.clone().prop_map(Deed::MakeDir),
        2 => path.clone().prop_map(Deed::Remove),
        2 => (path.clone(), path.clone()).prop_map(|(a, b)| Deed::Rename(a, b)),
        2 => (path.clone(), path.clone()).prop_map(|(a, b)| Deed::Link(a, b)),
        1 => (path.clone(), path.clone()).prop_map(|(a, b)| Deed::Symlink(a, b)),
        1 => (path.clone(), prop_oneof![Just(0o600), Just(0o4755), Just(0o711)])
            .prop_map(|(p, m)| Deed::Mode(p, m)),
        1 => (path, 0..5i64).prop_map(|(p, t)| Deed::Touch(p, t)),
    ]
}

/// Does it where it can be done.
fn perform(world: &World, deed: &Deed) {
    let at = |index: usize| -> PathBuf { world.path(PATHS[index]) };
    let is_link = |index: usize| fs::symlink_metadata(at(index)).is_ok_and(|m| m.is_symlink());
    // Symbolic links are never followed: they may lead out of the tree or in circles.
    let through_link = |index: usize| {
        let names: Vec<&str> = PATHS[index].split('/').collect();
        (1..names.len()).any(|n| {
            fs::symlink_metadata(world.path(&names[..n].join("/"))).is_ok_and(|m| m.is_symlink())
        })
    };
    let used = match deed {
        Deed::Write(a, _)
        | Deed::MakeDir(a)
        | Deed::Remove(a)
        | Deed::Mode(a, _)
        | Deed::Touch(a, _) => vec![*a],
        Deed::Rename(a, b) | Deed::Link(a, b) | Deed::Symlink(a, b) => vec![*a, *b],
    };
    if used.iter().any(|i| through_link(*i)) {
        return;
    }
    let _ = match deed {
        Deed::Write(p, c) if !is_link(*p) => fs::write(at(*p), vec![*c; usize::from(*c) % 5]),
        Deed::MakeDir(p) => fs::create_dir(at(*p)),
        Deed::Remove(p) => {
            let directory = fs::symlink_metadata(at(*p)).is_ok_and(|m| m.is_dir());
            if directory {
                fs::remove_dir_all(at(*p))
            } else {
                fs::remove_file(at(*p))
            }
        }
        Deed::Rename(a, b) => fs::rename(at(*a), at(*b)),
        Deed::Link(a, b) => fs::hard_link(at(*a), at(*b)),
        Deed::Symlink(a, b) => symlink(at(*a), at(*b)),
        Deed::Mode(p, mode) if !is_link(*p) && world.exists(PATHS[*p]) => {
            world.chmod(PATHS[*p], *mode | 0o700);
            Ok(())
        }
        Deed::Touch(p, time) if world.exists(PATHS[*p]) => {
            touch(&at(*p), *time, 7);
            Ok(())
        }
        _ => Ok(()),
    };
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300,
        rng_seed: RngSeed::Fixed(0x0DE9_107E), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_command_is_undone_and_redone_exactly(
        tree in prop::collection::vec(deed(), 0..25),
        command in prop::collection::vec(deed(), 0..12),
    ) {
        let world = World::new();
        for deed in &tree {
            perform(&world, deed);
        }
        let before = world.scan();
        let source = world.snapshot(|| for deed in &command {
                perform(&world, deed);
            });
        let after = world.scan();
        let rolled = world.undo(&source, &before);
        let again = world.undo(&rolled.redo, &after);
        world.undo(&again.redo, &before);
    }

    #[test]
    fn any_commands_are_undone_together_and_one_by_one(
        tree in prop::collection::vec(deed(), 0..20),
        commands in prop::collection::vec(prop::collection::vec(deed(), 1..6), 1..5),
    ) {
        let world = World::new();
        for deed in &tree {
            perform(&world, deed);
        }
        let mut states = vec![world.scan()];
        let mut sources = Vec::new();
        for command in &commands {
            sources.push(world.snapshot(|| for deed in command {
                perform(&world, deed);
            }));
            states.push(world.scan());
        }
        let after = states.pop().unwrap();
        let newest_first: Vec<_> = sources.iter().rev().collect();
        let rolled = world.roll(&newest_first, OnConflict::Abort);
        prop_assert!(rolled.report.success, "{:#?}", rolled.report);
        assert_same(&states[0], &world.scan());
        world.undo(&rolled.redo, &after);
        for source in newest_first {
            world.undo(source, &states.pop().unwrap());
        }
    }
}
