//! A quick hash for keys that only this process's own maps have.

use std::hash::{BuildHasherDefault, Hasher};

/// A map whose keys are numbers that the system gave, or paths.
///
/// Whoever chooses keys so that they collide makes the answers to their own calls slow.
pub(super) type QuickMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<Quick>>;

/// Multiplies and rotates, eight bytes at a time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Quick(u64);

impl Quick {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            let mut whole = [0; 8];
            whole.copy_from_slice(word);
            self.mix(u64::from_le_bytes(whole));
        }
        let mut rest = [0; 8];
        rest[..words.remainder().len()].copy_from_slice(words.remainder());
        self.mix(u64::from_le_bytes(rest) ^ ((bytes.len() as u64) << 56));
    }

    fn write_u8(&mut self, value: u8) {
        self.mix(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.mix(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.mix(value as u64);
    }

    fn finish(&self) -> u64 {
        // The map takes its place from the lower bits and a tag from the upper ones.
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher as _;

    use super::*;
    use crate::path::AbsPath;

    #[test]
    fn many_paths_and_inodes_have_as_many_hashes() {
        let builder = BuildHasherDefault::<Quick>::default();
        let paths =
            (0..50_000).map(|at| AbsPath::new(format!("/d{}/file-{at}", at % 500)).unwrap());
        let hashes: HashSet<u64> = paths.map(|path| builder.hash_one(path)).collect();
        assert_eq!(hashes.len(), 50_000);
        let inodes = (0..50_000_u64).map(|inode| builder.hash_one((42_u64, inode)));
        let low: HashSet<u64> = inodes.map(|hash| hash & 0xf_ffff).collect();
        assert!(low.len() > 45_000, "{}", low.len());
    }
}
