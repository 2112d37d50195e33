//! What works on this host.

use std::path::{Path, PathBuf};

use super::{
    ContentReport, DoctorReport, Engine, FidelityReport, LimitsReport, ShellReport, StoreReport,
    StrategyReport, VolumeReport,
};
use crate::error::{IoContext, Result, Stage};
use crate::execute::available_shells;
use crate::path::{AbsPath, WirePath};
use crate::snapshot::intercept;
use crate::snapshot::probe::Fidelity;
use crate::snapshot::select::choose;
use crate::store::{ListFilter, SIBLINGS};
use crate::sys::{self, Mount};

impl Engine {
    /// What works on this host, for the volumes of `paths` and, where asked, all others that hold
    /// files. What a volume keeps is tried out in a private directory in the first of `paths` on
    /// it, or at its mount point.
    pub fn doctor(&self, paths: &[AbsPath], all_volumes: bool) -> Result<DoctorReport> {
        let mounts = sys::mounts().context(Stage::Request, || "cannot read the mount table")?;
        let (store, mut warnings) = self.describe_store(&mounts)?;
        let mut seen: Vec<(AbsPath, &Mount)> = Vec::new();
        let everywhere = mounts
            .iter()
            .filter(|mount| all_volumes && is_real(mount, &mounts));
        let mount_points = everywhere.filter_map(|m| AbsPath::new(&m.mount_point).ok());
        for path in paths.iter().cloned().chain(mount_points) {
            if let Some(mount) = sys::mount_of(path.as_path(), &mounts)
                && seen.iter().all(|(_, known)| known.id != mount.id)
            {
                seen.push((path, mount));
            }
        }
        let volumes = seen
            .into_iter()
            .map(|(path, mount)| self.describe_volume(&path, mount, &mounts))
            .collect();
        let shells: Vec<ShellReport> = available_shells()
            .into_iter()
            .map(|(name, path)| ShellReport {
                name: name.to_string(),
                path: wire(&path),
            })
            .collect();
        if shells.is_empty() {
            warnings.push("no shell was found: install bash or another supported shell".into());
        }
        if !sys::is_root() {
            warnings.push(
                "not running as root: owners, device nodes and some attributes cannot be restored"
                    .into(),
            );
        }
        let plugins = self.rules.reports();
        let limits = LimitsReport {
            limits: self.config.limits,
            max_store_bytes: self.config.max_store_bytes,
            open_files: sys::open_files_limit(),
            watches: sys::watch_limits(),
        };
        let interception = intercept::sessions(&self.store);
        warnings.extend(interception.iter().filter_map(|session| {
            let problem = session.problem.as_ref()?;
            Some(format!(
                "intercepted session {}: {problem}",
                session.session
            ))
        }));
        Ok(DoctorReport {
            store,
            volumes,
            shells,
            plugins,
            interception,
            limits,
            warnings,
        })
    }

    fn describe_store(&self, mounts: &[Mount]) -> Result<(StoreReport, Vec<String>)> {
        let path = self.store.path();
        let mount = sys::mount_of(path, mounts).cloned();
        let in_memory = mount.as_ref().is_some_and(Mount::is_memory);
        // Temporary directories are emptied at boot by many systems.
        let temporary = ["/tmp", "/var/tmp", "/run", "/dev/shm"]
            .iter()
            .any(|t| path.starts_with(t))
            || path.starts_with(std::env::temp_dir());
        let mut warnings = Vec::new();
        if in_memory || temporary {
            warnings.push(format!(
                "the store {} is lost at a reboot: create /var/lib/deployx or name another place with --snapshot-dir",
                crate::path::escape(path)
            ));
        }
        let (metas, damaged) = self.store.list(&ListFilter::default())?;
        for (name, error) in damaged {
            warnings.push(format!("{name}: {error}"));
        }
        let report = StoreReport {
            path: wire(path),
            durable: !in_memory && !temporary,
            filesystem: mount.map_or_else(|| "unknown".into(), |m| m.filesystem),
            free_bytes: sys::space(path).map_or(0, |s| s.free_bytes),
            snapshots: metas.len() as u64,
            stored_bytes: metas.iter().map(|m| m.stored_bytes).sum(),
        };
        Ok((report, warnings))
    }

    fn describe_volume(&self, path: &AbsPath, mount: &Mount, mounts: &[Mount]) -> VolumeReport {
        let strategies = self
            .strategies
            .all()
            .map(|strategy| {
                let probe = strategy.probe(path);
                StrategyReport {
                    name: strategy.name().to_owned(),
                    usable: probe.is_ok(),
                    reason: probe.unwrap_or_else(|why| why),
                }
            })
            .collect();
        let chosen = choose(&self.strategies, &[], path)
            .ok()
            .filter(|_| !mount.read_only);
        let space = sys::space(&mount.mount_point).ok();
        let in_store = self.volumes.probes().is_beside_store(mount, mounts);
        let directory = if in_store {
            self.store.path().to_owned()
        } else {
            mount.mount_point.join(SIBLINGS)
        };
        VolumeReport {
            mount_point: wire(&mount.mount_point),
            filesystem: mount.filesystem.clone(),
            source: mount.source.clone(),
            read_only: mount.read_only,
            network: mount.is_network(),
            free_bytes: space.map(|s| s.free_bytes),
            free_inodes: space.and_then(|s| s.free_inodes),
            strategies,
            chosen: chosen.map(|choice| choice.strategy.name().to_owned()),
            content: ContentReport {
                in_store,
                directory: wire(&directory),
            },
            fidelity: fidelity(path, mount),
        }
    }
}

/// Whether a mount holds files and can be reached.
fn is_real(mount: &Mount, mounts: &[Mount]) -> bool {
    let under = mounts.iter().find(|below| below.id == mount.parent);
    let in_kernel = under.is_some_and(|m| matches!(m.filesystem.as_str(), "proc" | "sysfs"));
    !mount.is_pseudo()
        && !in_kernel
        && mount.mount_point.is_dir()
        && sys::mount_of(&mount.mount_point, mounts).is_some_and(|top| top.id == mount.id)
}

/// Tries out what the volume keeps, where that is possible without harm.
fn fidelity(path: &AbsPath, mount: &Mount) -> FidelityReport {
    let not_tried = |reason: String| FidelityReport {
        directory: None,
        not_tried: Some(reason),
        found: None,
    };
    if mount.read_only {
        return not_tried("mounted for reading only".into());
    }
    let is_mount_point = path.as_path() == mount.mount_point;
    if mount.is_network() && is_mount_point {
        return not_tried("on another host: name a directory on it".into());
    }
    let Some(directory) = directory_at(path) else {
        return not_tried(format!("{path} is not there"));
    };
    match Fidelity::probe(&directory) {
        Ok(found) => FidelityReport {
            directory: Some(wire(&directory)),
            not_tried: None,
            found: Some(found),
        },
        Err(error) => {
            let directory = crate::path::escape(&directory);
            not_tried(format!("cannot write in {directory}: {error}"))
        }
    }
}

/// The directory at `path`, or the one that holds it.
fn directory_at(path: &AbsPath) -> Option<PathBuf> {
    let found = path.as_path().canonicalize().ok()?;
    if found.is_dir() {
        Some(found)
    } else {
        found.parent().map(Path::to_path_buf)
    }
}

fn wire(path: &Path) -> WirePath {
    WirePath::from_bytes(path.as_os_str().as_encoded_bytes())
}
