//! The `subvolume` strategy: a read-only btrfs snapshot before the command.
//!
//! Making the snapshot takes the same time however large the subvolume is, and keeps all content
//! without copying any. After the command a search by generations finds the inodes that changed
//! ([`sys::btrfs`](crate::sys)); only the directories that hold them are compared with the snapshot,
//! and old content is cloned out of it. Then the snapshot is destroyed.
//!
//! Snapshots lie in the store's directory on the volume, in `subvolumes` (`shelf`). A subvolume
//! within a subvolume is not part of its snapshot: each one in the scope gets its own, and one
//! beneath the scope is not observed, as if another filesystem were mounted there.

mod before;
mod capture;
mod changed;
mod further;
mod locate;
mod place;
mod rules;
mod shelf;
#[cfg(test)]
mod tests;
mod token;
mod view;
mod volume;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use self::capture::SubvolumeCapture;
use self::locate::{Site, locate};
use self::shelf::Shelf;
use self::token::Token;
use self::volume::Volume;
use crate::error::{Error, ErrorKind, IoContext, Result, Stage};
use crate::path::AbsPath;
use crate::progress::{Event, Phase};
use crate::snapshot::probe::{Finding, Probes};
use crate::snapshot::{Capability, Capture, CaptureRequest, SnapshotStrategy};
use crate::store::{ListFilter, SnapshotState, Store};
use crate::sys::{self, Dir, btrfs};

/// The strategy's name.
pub const NAME: &str = "subvolume";

/// The directory at a mount point that holds the stores' directories on the volume.
const SIBLINGS: &str = ".deployx_snapshots";

/// Makes snapshots of btrfs subvolumes.
pub struct Subvolume {
    store: Store,
    probes: Arc<Probes>,
}

impl Subvolume {
    /// The strategy of a store.
    pub fn new(store: Store, probes: Arc<Probes>) -> Self {
        Self { store, probes }
    }

    /// Makes a snapshot, searches and destroys it, to see whether this process can.
    fn try_out(&self, site: &Site) -> Finding {
        if site.mount.read_only {
            return Finding::NotNow("mounted for reading only".into());
        }
        if let Err(why) = may_search(site) {
            return Finding::NotNow(why);
        }
        let tried = self
            .shelf(site)
            .map_err(|e| e.to_string())
            .and_then(|shelf| {
                let volume = Volume::take(site, &shelf).map_err(|e| refusal(&e))?;
                let searched = changed::search(&volume).map(drop);
                let destroyed = volume.kept.destroy().map_err(|e| refusal(&e));
                searched
                    .map_err(|why| format!("its subvolume {why}"))
                    .and(destroyed)
            });
        match tried {
            Ok(()) => Finding::Works,
            Err(why) => Finding::NotNow(why),
        }
    }

    fn shelf(&self, site: &Site) -> Result<Shelf> {
        let volume = AbsPath::new(&*site.mount.mount_point)
            .map_err(|e| Error::new(ErrorKind::InvalidRequest, Stage::Capture, e.to_string()))?;
        let sibling = self.store.sibling(&volume)?;
        Shelf::open(&sibling).context(Stage::Capture, || {
            format!("cannot keep snapshots in {}", sibling.display())
        })
    }

    /// The shelf on a volume that may have one.
    fn shelf_on(&self, volume: &AbsPath) -> std::io::Result<Option<Shelf>> {
        let root = match Dir::open(volume) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        if !btrfs::is_btrfs(&root)? {
            return Ok(None);
        }
        let sibling = self.store.sibling(volume).map_err(std::io::Error::other)?;
        Shelf::open_existing(&sibling)
    }

    /// Where content has to be placed so that it can be cloned, unless in the store.
    fn beside(&self, mount: &sys::Mount) -> Option<AbsPath> {
        let mounts = sys::mounts().ok()?;
        if self.probes.is_beside_store(mount, &mounts) {
            return None;
        }
        AbsPath::new(&*mount.mount_point).ok()
    }

    /// The snapshots that captures in the store need; `None`: that is not known.
    fn needed(&self) -> Option<Vec<String>> {
        let (metas, damaged) = self.store.list(&ListFilter::default()).ok()?;
        if !damaged.is_empty() {
            return None;
        }
        let begun = |state| matches!(state, SnapshotState::Capturing | SnapshotState::Captured);
        let mut needed = Vec::new();
        for meta in metas.iter().filter(|meta| begun(meta.state)) {
            let meta = self.store.meta(&meta.snapshot_id).ok()?;
            for (_, token) in meta.capture_tokens.iter().filter(|(name, _)| name == NAME) {
                needed.extend(Token::snapshots(&BASE64.decode(token).ok()?)?);
            }
        }
        Some(needed)
    }

    /// Takes a snapshot of each subvolume.
    fn take_all(&self, sites: &[Site]) -> Result<Vec<Volume>> {
        let mut volumes: Vec<Volume> = Vec::with_capacity(sites.len());
        for site in sites {
            let taken = self.shelf(site).and_then(|shelf| {
                if let Err(error) = shelf.sweep(|| self.needed()) {
                    tracing::warn!(%error, "old snapshots were not swept");
                }
                Volume::take(site, &shelf).context(Stage::Capture, || {
                    format!("cannot make a snapshot of the subvolume {}", site.root)
                })
            });
            match taken {
                Ok(volume) => volumes.push(volume),
                Err(error) => {
                    volumes.into_iter().for_each(Volume::let_go);
                    return Err(error);
                }
            }
        }
        Ok(volumes)
    }
}

impl SnapshotStrategy for Subvolume {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> u32 {
        1
    }

    fn capability(&self) -> Capability {
        Capability {
            content: true,
            metadata: true,
            created: true,
            resume: true,
            zero_copy: true,
        }
    }

    fn probe(&self, path: &AbsPath) -> std::result::Result<String, String> {
        let site = locate(path)?;
        let id = Dir::open(&site.root)
            .and_then(|root| btrfs::subvolume_of(&root))
            .map_err(|e| format!("cannot look at the subvolume {}: {e}", site.root))?
            .id;
        self.probes
            .cached(&format!("subvolume {id}"), &site.mount, || {
                self.try_out(&site)
            })?;
        Ok(format!(
            "the btrfs subvolume {} can be snapshotted",
            site.root
        ))
    }

    fn begin(&self, mut request: CaptureRequest<'_>) -> Result<Box<dyn Capture>> {
        request.exclusions.check()?;
        request.progress.event(Event::Begin {
            phase: Phase::Secure,
            total: None,
        });
        let mut sites: Vec<Site> = Vec::new();
        let mut volume_of: Vec<usize> = Vec::with_capacity(request.scope.len());
        for path in request.scope {
            let site = locate(&path.path).map_err(|why| {
                let context = format!("{}: {why}", path.path);
                Error::new(ErrorKind::Unsupported, Stage::Capture, context)
            })?;
            let known = sites.iter().position(|known| known.root == site.root);
            volume_of.push(known.unwrap_or(sites.len()));
            if known.is_none() {
                sites.push(site);
            }
        }
        for site in &sites {
            let siblings = AbsPath::new(site.mount.mount_point.join(SIBLINGS));
            request.exclusions.subtrees.extend(siblings);
        }
        request.exclusions.subtrees.sort();
        request.exclusions.subtrees.dedup();
        let beside = sites.first().and_then(|site| self.beside(&site.mount));
        let progress = request.progress;
        let volumes = self.take_all(&sites)?;
        let capture = SubvolumeCapture::begin(request, volumes, &volume_of, beside)?;
        progress.event(Event::End);
        Ok(Box::new(capture))
    }

    fn resume(&self, token: &[u8]) -> Result<Box<dyn Capture>> {
        let token = Token::decode(token).map_err(|why| {
            let context = format!("the capture cannot be resumed: {why}");
            Error::new(ErrorKind::Corrupt, Stage::Capture, context)
        })?;
        let volumes = token
            .volumes
            .iter()
            .map(|volume| Volume::take_up(volume, |mount| self.store.sibling(mount)))
            .collect::<Result<Vec<_>>>()?;
        let mounts = sys::mounts().context(Stage::Capture, || "cannot read the mount table")?;
        let first = volumes
            .first()
            .and_then(|volume| sys::mount_of(volume.mount_point.as_path(), &mounts));
        let beside = first.and_then(|mount| self.beside(mount));
        Ok(Box::new(SubvolumeCapture::resumed(token, volumes, beside)))
    }

    fn sweep(&self) -> Result<()> {
        for volume in self.store.sibling_volumes()? {
            let swept = self
                .shelf_on(&volume)
                .and_then(|shelf| shelf.map_or(Ok(()), |shelf| shelf.sweep(|| self.needed())));
            swept.context(Stage::Capture, || {
                format!("cannot sweep the snapshots on {volume}")
            })?;
        }
        Ok(())
    }
}

/// Whether this process may search the subvolume: that alone tells most of those who may not make
/// snapshots, without leaving anything on the volume.
fn may_search(site: &Site) -> std::result::Result<(), String> {
    Dir::open(&site.root)
        .and_then(|root| btrfs::names_of(&root, btrfs::ROOT_INODE))
        .map(drop)
        .map_err(|e| refusal(&e))
}

/// Why a snapshot cannot be made, in words.
fn refusal(error: &std::io::Error) -> String {
    if btrfs::is_refused(error) {
        "snapshots of subvolumes need the administrator's rights".into()
    } else {
        format!("no snapshot of the subvolume could be made: {error}")
    }
}
