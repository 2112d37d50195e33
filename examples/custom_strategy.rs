//! A strategy of one's own: keeps the old content of plain files in memory.
//!
//! It shows every duty of [`SnapshotStrategy`] and [`Capture`] in the smallest form: secure before
//! the command, compare after it, and be honest about what is not covered. It cannot survive the
//! end of the process, so it does not declare the capability `resume`.
//!
//! `cargo run --example custom_strategy`

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use deployx::engine::{Engine, EngineConfig, RunContext};
use deployx::entry::{ContentHash, EntryState};
use deployx::error::{Error, ErrorKind, Stage};
use deployx::execute::{Cancel, Output};
use deployx::progress::{Progress, Silent};
use deployx::request::{RollbackRequest, RunRequest};
use deployx::seal::{Change, PreImage};
use deployx::snapshot::{
    Capability, Capture, CaptureRequest, Exclusions, Placement, Sealed, SnapshotStrategy,
    Unobserved,
};
use deployx::sys::{Dir, read_state};
use deployx::{AbsPath, Result};
use sha2::{Digest, Sha256};

/// Keeps old content in memory.
struct InMemory;

/// The state and content of every entry directly in the directories of the scope.
type Seen = BTreeMap<AbsPath, (EntryState, Vec<u8>)>;

struct InMemoryCapture {
    directories: Vec<AbsPath>,
    before: Seen,
    exclusions: Exclusions,
    unobserved: Vec<Unobserved>,
}

impl SnapshotStrategy for InMemory {
    fn name(&self) -> &'static str {
        "in-memory"
    }

    fn version(&self) -> u32 {
        1
    }

    fn capability(&self) -> Capability {
        Capability {
            content: true,
            metadata: true,
            created: true,
            ..Capability::default()
        }
    }

    fn probe(&self, _: &AbsPath) -> std::result::Result<String, String> {
        Ok("small directories only".into())
    }

    fn begin(&self, request: CaptureRequest<'_>) -> Result<Box<dyn Capture>> {
        let directories: Vec<AbsPath> = request
            .scope
            .iter()
            .map(|s| s.path.clone())
            .filter(|p| p.as_path().is_dir())
            .collect();
        let before = look(&directories)?;
        // What lies deeper is not covered, and that must be said.
        let unobserved = before
            .iter()
            .filter(|(_, (state, _))| state.is_dir())
            .map(|(path, _)| Unobserved {
                path: path.clone(),
                reason: "a subdirectory".into(),
            })
            .collect();
        Ok(Box::new(InMemoryCapture {
            directories,
            before,
            exclusions: request.exclusions,
            unobserved,
        }))
    }

    fn resume(&self, _: &[u8]) -> Result<Box<dyn Capture>> {
        Err(Error::new(
            ErrorKind::Unsupported,
            Stage::Capture,
            "memory is gone with its process",
        ))
    }
}

impl Capture for InMemoryCapture {
    fn token(&self) -> Vec<u8> {
        Vec::new()
    }

    fn entries(&self) -> u64 {
        self.before.len() as u64
    }

    fn unobserved(&self) -> &[Unobserved] {
        &self.unobserved
    }

    fn exclusions(&self) -> &Exclusions {
        &self.exclusions
    }

    fn seal(&mut self, placement: Placement<'_>, _: &dyn Progress) -> Result<Sealed> {
        let mut after = look(&self.directories)?;
        let mut sealed = Sealed {
            entries: after.len() as u64,
            ..Sealed::default()
        };
        for (path, (before, content)) in &self.before {
            let now = after.remove(path).map(|(state, _)| state);
            if before.is_dir() || now.as_ref().is_some_and(|now| now.same_version(before)) {
                continue;
            }
            let name = format!("{}{}", placement.prefix, sealed.changes.len());
            let write = || -> std::io::Result<()> {
                fs::write(placement.files.join(&name), content)?;
                fs::File::open(placement.files.join(&name))?.sync_all()
            };
            write().map_err(|e| Error::io(Stage::Seal, "cannot keep old content", e))?;
            sealed.stored_bytes += content.len() as u64;
            let hash = ContentHash(Sha256::digest(content).into());
            let content = PreImage::raw(name, hash);
            sealed.changes.push(Change {
                path: path.clone(),
                before: Some(before.clone()),
                after: now,
                content,
            });
        }
        for (path, (state, _)) in after {
            sealed.changes.push(Change {
                path,
                before: None,
                after: Some(state),
                content: PreImage::NotNeeded,
            });
        }
        sealed.changes.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(sealed)
    }

    fn finish(self: Box<Self>) {}
}

/// Looks at everything directly in `directories`.
fn look(directories: &[AbsPath]) -> Result<Seen> {
    let mut seen = Seen::new();
    let mut look_into = |directory: &AbsPath| -> std::io::Result<()> {
        let dir = Dir::open(directory)?;
        for name in dir.names()? {
            let stat = dir.stat(&name)?;
            let mut state = read_state(&dir, &name, &stat)?;
            let mut content = Vec::new();
            if state.is_file() {
                std::io::Read::read_to_end(&mut dir.open_file(&name)?, &mut content)?;
                state.hash = Some(ContentHash(Sha256::digest(&content).into()));
            }
            if let Ok(path) = directory.join(&name) {
                seen.insert(path, (state, content));
            }
        }
        Ok(())
    };
    for directory in directories {
        look_into(directory).map_err(|e| Error::io(Stage::Capture, directory.to_string(), e))?;
    }
    Ok(seen)
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let scratch = std::env::temp_dir().join(format!("deployx-strategy-{}", std::process::id()));
    fs::create_dir_all(scratch.join("work"))?;
    let work = AbsPath::new(scratch.join("work").canonicalize()?)?;
    fs::write(work.as_path().join("note"), "old\n")?;

    let mut engine = Engine::open(EngineConfig::new(scratch.join("store")))?;
    engine.register_strategy(Arc::new(InMemory));
    let mut request = RunRequest::new("echo new > note; echo more > other", work.clone());
    request.snapshot.strategies = vec!["in-memory".into()];
    request.snapshot.replace_paths = vec![work.clone()];
    let cancel = Cancel::default();
    let report = engine.run(
        &request,
        RunContext::new(Output::inherit(), &cancel, &Silent),
    )?;
    println!("with strategy {}: {:?}", report.strategy, report.changes);

    engine.rollback(&RollbackRequest::new("last"), &cancel, &Silent)?;
    assert_eq!(fs::read_to_string(work.as_path().join("note"))?, "old\n");
    assert!(!work.as_path().join("other").exists());
    println!("and back again");
    fs::remove_dir_all(&scratch)?;
    Ok(())
}
