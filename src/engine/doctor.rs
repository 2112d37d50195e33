//! What works on this host.

use super::{
    DoctorReport, Engine, LimitsReport, ShellReport, StoreReport, StrategyReport, VolumeReport,
};
use crate::error::{IoContext, Result, Stage};
use crate::execute::available_shells;
use crate::path::{AbsPath, WirePath};
use crate::snapshot::select::choose;
use crate::store::ListFilter;
use crate::sys::{self, Mount};

impl Engine {
    /// What works on this host, for the volumes of `paths`.
    pub fn doctor(&self, paths: &[AbsPath]) -> Result<DoctorReport> {
        let mounts = sys::mounts().context(Stage::Request, || "cannot read the mount table")?;
        let (store, mut warnings) = self.describe_store(&mounts)?;
        let mut volumes: Vec<VolumeReport> = Vec::new();
        for path in paths {
            let Some(mount) = sys::mount_of(path.as_path(), &mounts) else {
                continue;
            };
            let mount_point = wire(&mount.mount_point);
            if volumes.iter().all(|v| v.mount_point != mount_point) {
                volumes.push(self.describe_volume(path, mount));
            }
        }
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
            open_files: sys::open_files_limit(),
        };
        Ok(DoctorReport {
            store,
            volumes,
            shells,
            plugins,
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

    fn describe_volume(&self, path: &AbsPath, mount: &Mount) -> VolumeReport {
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
        VolumeReport {
            mount_point: wire(&mount.mount_point),
            filesystem: mount.filesystem.clone(),
            strategies,
            chosen: choose(&self.strategies, &[], path)
                .ok()
                .map(|(s, _)| s.name().to_owned()),
        }
    }
}

fn wire(path: &std::path::Path) -> WirePath {
    WirePath::from_bytes(path.as_os_str().as_encoded_bytes())
}
