//! Random trees and random changes, by number.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{RenameFlags, XattrFlags};

use super::world::World;

/// A generator of numbers (xorshift), so that a failure can be repeated by its seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// Every path beneath `root`, the directories apart.
fn entries(root: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let (mut directories, mut others) = (vec![root.to_owned()], Vec::new());
    let mut at = 0;
    while at < directories.len() {
        for entry in fs::read_dir(&directories[at]).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                directories.push(entry.path());
            } else {
                others.push(entry.path());
            }
        }
        at += 1;
    }
    directories.sort();
    others.sort();
    (directories, others)
}

fn new_name(numbers: &mut Numbers, directory: &Path) -> PathBuf {
    let ends = ["", "", "", ".skip"];
    let end = ends[numbers.below(ends.len())];
    directory.join(format!("n{}{end}", numbers.below(40)))
}

fn content(numbers: &mut Numbers) -> Vec<u8> {
    let sizes = [0, 7, 7, 300, 5_000, 200_000];
    let size = sizes[numbers.below(sizes.len())];
    vec![b'a' + numbers.below(3) as u8; size]
}

/// Does one thing somewhere in the tree. What cannot be done there is left.
fn deed(numbers: &mut Numbers, root: &Path) {
    let (directories, others) = entries(root);
    let directory = directories[numbers.below(directories.len())].clone();
    let any = |numbers: &mut Numbers| {
        let all = others.len() + directories.len();
        let at = numbers.below(all);
        others
            .get(at)
            .unwrap_or_else(|| &directories[at - others.len()])
            .clone()
    };
    let entry = any(numbers);
    let is_root = entry == root;
    let fresh = new_name(numbers, &directory);
    let _ = match numbers.below(17) {
        0 | 1 => fs::write(&fresh, content(numbers)),
        2 => fs::create_dir(&fresh),
        3 => symlink(format!("to{}", numbers.below(9)), &fresh),
        4 => OpenOptions::new()
            .append(true)
            .open(&entry)
            .and_then(|mut f| f.write_all(b"+")),
        5 => File::options()
            .write(true)
            .open(&entry)
            .and_then(|f| f.write_all_at(b"Z", 3)),
        6 => File::options()
            .write(true)
            .open(&entry)
            .and_then(|f| f.set_len(2)),
        7 if !is_root => fs::remove_file(&entry).or_else(|_| fs::remove_dir_all(&entry)),
        8 | 9 if !is_root => fs::rename(&entry, &fresh),
        10 if !is_root => {
            let other = any(numbers);
            let cwd = rustix::fs::CWD;
            let flags = RenameFlags::EXCHANGE;
            if other.starts_with(&entry) || entry.starts_with(&other) {
                return;
            }
            rustix::fs::renameat_with(cwd, &entry, cwd, &other, flags).map_err(Into::into)
        }
        11 => fs::hard_link(&entry, &fresh),
        12 if !entry.is_symlink() => {
            let modes = [0o600, 0o755, 0o4711];
            let mode = modes[numbers.below(modes.len())];
            fs::set_permissions(&entry, fs::Permissions::from_mode(mode))
        }
        13 if !entry.is_symlink() => {
            let seconds = 1_000 + numbers.below(5) as u64;
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            File::open(&entry).and_then(|file| file.set_modified(time))
        }
        14 if !entry.is_symlink() => {
            let value = [b'v'; 3];
            rustix::fs::setxattr(&entry, "user.test", &value, XattrFlags::empty())
                .map_err(Into::into)
        }
        15 => rustix::fs::removexattr(&entry, "user.test").map_err(Into::into),
        16 => fs::write(directory.join(".deployxignore"), "*.skip\n"),
        _ => fs::read(&entry).map(drop),
    };
}

#[test]
fn random_changes_are_found_as_by_a_walk_of_everything() {
    let test = "random_changes_are_found_as_by_a_walk_of_everything";
    let rounds: u64 = std::env::var("DEPLOYX_SUBVOLUME_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(60);
    let Some(world) = World::new(test) else {
        return;
    };
    for seed in 1..=rounds {
        println!("seed {seed}");
        let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        fs::remove_dir_all(&world.tree).unwrap();
        fs::create_dir(&world.tree).unwrap();
        for _ in 0..60 {
            deed(&mut numbers, &world.tree);
        }
        let few = 1 + numbers.below(25);
        world.compare(&world.whole(), |tree| {
            for _ in 0..few {
                deed(&mut numbers, tree);
            }
        });
    }
}
