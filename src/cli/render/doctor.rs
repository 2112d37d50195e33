//! What works on this host.

use super::table::{Columns, Tone};
use super::text::Lines as _;
use super::{Palette, text};
use crate::engine::{DoctorReport, FidelityReport, StoreReport, VolumeReport};
use crate::infer::{Origin, RuleSetReport};
use crate::snapshot::intercept::SessionReport;

/// The whole text.
pub(crate) fn report(report: &DoctorReport, palette: Palette) -> String {
    let mut out = String::new();
    out.push_str(&store(&report.store, palette));
    for volume in &report.volumes {
        out.push('\n');
        out.push_str(&self::volume(volume, palette));
    }
    if !report.shells.is_empty() {
        out.line(format_args!("\n{}", palette.bold("Shells")));
        for shell in &report.shells {
            out.line(format_args!(
                "  {:<10} {}",
                text::line(&shell.name),
                text::wire(&shell.path)
            ));
        }
    }
    if !report.plugins.is_empty() {
        out.line(format_args!("\n{}", palette.bold("Rule sets")));
        for line in plugins(&report.plugins, palette).lines() {
            out.line(format_args!("  {line}"));
        }
    }
    out.push_str(&sessions(&report.interception, palette));
    out.line(format_args!("\n{}", palette.bold("Limits")));
    for (name, value) in limits(report) {
        out.line(format_args!("  {name:<28} {value}"));
    }
    if report.warnings.is_empty() {
        out.line(format_args!(
            "\n{}",
            palette.good("Everything is in order.")
        ));
    } else {
        out.line(format_args!("\n{}", palette.bold("To look at")));
        for warning in &report.warnings {
            let line = text::line(warning);
            out.line(format_args!("  {} {line}", palette.warn("!")));
        }
    }
    out
}

fn store(store: &StoreReport, palette: Palette) -> String {
    let durable = if store.durable {
        palette.good("survives a reboot")
    } else {
        palette.warn("does not survive a reboot")
    };
    format!(
        "{}\n  {} ({}, {durable})\n  {} with {}; {} free\n",
        palette.bold("Store"),
        text::wire(&store.path),
        text::line(&store.filesystem),
        text::count(store.snapshots, "snapshot", "snapshots"),
        text::size(store.stored_bytes),
        text::size(store.free_bytes)
    )
}

fn volume(volume: &VolumeReport, palette: Palette) -> String {
    let mut about = vec![text::line(&volume.filesystem)];
    if volume.network {
        about.push("on another host".into());
    }
    if volume.read_only {
        about.push("for reading only".into());
    }
    about.extend(volume.free_bytes.map(|b| format!("{} free", text::size(b))));
    let mut out = format!(
        "{} {} ({})\n",
        palette.bold("Volume"),
        text::wire(&volume.mount_point),
        about.join(", ")
    );
    for strategy in &volume.strategies {
        let chosen = volume.chosen.as_deref() == Some(strategy.name.as_str());
        let name = format!("{:<10}", text::line(&strategy.name));
        let (mark, name) = match (strategy.usable, chosen) {
            (true, true) => (palette.good("*"), palette.good(&name)),
            (true, false) => ("+".to_owned(), name),
            (false, _) => (palette.dim("-"), palette.dim(&name)),
        };
        out.line(format_args!(
            "  {mark} {name} {}",
            text::line(&strategy.reason)
        ));
    }
    match &volume.chosen {
        Some(_) => out.line(format_args!(
            "  {}",
            palette.dim("* is what auto takes, + works too, - does not work here")
        )),
        None if volume.read_only => out.line(format_args!(
            "  {}",
            palette.dim("nothing can change here, so no strategy is needed")
        )),
        None => out.line(format_args!("  {}", palette.bad("no strategy works here"))),
    }
    if !volume.content.in_store && !volume.read_only {
        out.line(format_args!(
            "  clones    {}",
            text::wire(&volume.content.directory)
        ));
    }
    fidelity(&volume.fidelity, &mut out);
    out
}

/// What the volume keeps, in two or three lines.
fn fidelity(report: &FidelityReport, out: &mut String) {
    if let Some(reason) = &report.not_tried {
        out.line(format_args!(
            "  keeps     not tried: {}",
            text::line(reason)
        ));
    }
    let Some(found) = &report.found else { return };
    let properties = found.properties();
    let whole = found.time_step_ns == Some(1) && properties.iter().all(|(_, k)| *k == Some(true));
    if whole {
        return out.line(format_args!("  keeps     everything"));
    }
    let of = |wanted: Option<bool>| -> Vec<&str> {
        let which = properties.iter().filter(|(_, kept)| *kept == wanted);
        which.map(|(name, _)| *name).collect()
    };
    let mut kept = of(Some(true));
    let times = found.time_step_ns.map(|step| match step {
        1 => "times".to_owned(),
        step if step >= 1_000_000_000 => format!("times to {} s", step / 1_000_000_000),
        step => format!("times to {step} ns"),
    });
    let mut lost = of(Some(false));
    match &times {
        Some(times) => kept.insert(0, times),
        None => lost.insert(0, "times"),
    }
    for (title, names) in [("keeps", kept), ("loses", lost), ("not tried", of(None))] {
        if !names.is_empty() {
            out.line(format_args!("  {title:<9} {}", names.join(", ")));
        }
    }
}

/// Each intercepted session in a line: who answers, and for what.
fn sessions(sessions: &[SessionReport], palette: Palette) -> String {
    let mut out = String::new();
    if sessions.is_empty() {
        return out;
    }
    out.line(format_args!("\n{}", palette.bold("Intercepted sessions")));
    for session in sessions {
        let name: String = session.session.chars().take(8).collect();
        out.line(format_args!(
            "  {:<10} {}",
            text::line(&name),
            state(session)
        ));
    }
    out
}

fn state(session: &SessionReport) -> String {
    if session.holders.is_empty() {
        return "nobody answers".into();
    }
    let mut parts: Vec<String> = session
        .holders
        .iter()
        .map(|holder| {
            let role = if holder.stand_in {
                "stand-in"
            } else {
                "answered by"
            };
            let gone = if holder.alive { "" } else { " (gone)" };
            format!("{role} {}{gone}", holder.pid)
        })
        .collect();
    parts.push(text::count(session.shells.len() as u64, "shell", "shells"));
    parts.push(match (&session.command, &session.last_command) {
        (Some(running), _) => format!("{} runs", text::line(running)),
        (None, Some(last)) => format!("{} is over", text::line(last)),
        (None, None) => "no command yet".into(),
    });
    if session.late > 0 {
        let changes = text::count(session.late, "change", "changes");
        parts.push(format!("{changes} since"));
    }
    parts.join(", ")
}

fn limits(report: &DoctorReport) -> Vec<(&'static str, String)> {
    let limits = report.limits.limits;
    let watches = report.limits.watches;
    let bound = report.limits.max_store_bytes;
    let mut lines = vec![
        (
            "content in the store",
            bound.map_or_else(|| "no bound".to_owned(), text::size),
        ),
        ("entries in a snapshot", limits.max_entries.to_string()),
        ("content in a snapshot", text::size(limits.max_bytes)),
        ("largest file", text::size(limits.max_file_bytes)),
        ("free space to leave", text::size(limits.min_free_bytes)),
        ("time before a command", text::span(limits.max_duration)),
        ("open files", report.limits.open_files.to_string()),
    ];
    let kernel = [
        ("watched directories", watches.watches),
        ("watches at once", watches.instances),
        ("changes that wait", watches.queued),
    ];
    lines.extend(
        kernel
            .into_iter()
            .filter_map(|(n, v)| Some((n, v?.to_string()))),
    );
    lines
}

/// The rule sets with the shells they read and where they come from.
pub(crate) fn plugins(reports: &[RuleSetReport], palette: Palette) -> String {
    let mut columns = Columns::new(palette, &["NAME", "SHELLS", "FROM", "ANSWERS FOR"]);
    let listed = |shells: &[String]| match shells {
        [] => "-".to_owned(),
        shells => text::line(&shells.join(", ")),
    };
    for report in reports {
        let from = match &report.origin {
            Origin::BuiltIn => "built in".to_owned(),
            Origin::Registered => "this program".to_owned(),
            Origin::Loaded { path } => text::wire(path),
        };
        let (answers, tone) = match &report.refused {
            Some(why) => (format!("refused: {}", text::line(why)), Tone::Bad),
            None => (listed(&report.answers), Tone::Plain),
        };
        columns.row([
            (text::line(&report.name).as_str(), Tone::Accent),
            (listed(&report.shells).as_str(), Tone::Plain),
            (from.as_str(), Tone::Plain),
            (answers.as_str(), tone),
        ]);
    }
    columns.text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{ContentReport, LimitsReport, ShellReport, StrategyReport};
    use crate::path::WirePath;
    use crate::request::Limits;
    use crate::snapshot::intercept::HolderReport;
    use crate::snapshot::probe::Fidelity;
    use crate::sys::WatchLimits;

    const PLAIN: Palette = Palette { on: false };

    fn sample() -> DoctorReport {
        let strategy = |name: &str, usable, reason: &str| StrategyReport {
            name: name.into(),
            usable,
            reason: reason.into(),
        };
        DoctorReport {
            store: StoreReport {
                path: WirePath::Text("/tmp/.deployx_snapshots".into()),
                durable: false,
                filesystem: "tmpfs".into(),
                free_bytes: 1 << 30,
                snapshots: 1,
                stored_bytes: 0,
            },
            volumes: vec![VolumeReport {
                mount_point: WirePath::Text("/".into()),
                filesystem: "ext4".into(),
                strategies: vec![
                    strategy("reflink", false, "ext4 has no clones"),
                    strategy("copy", true, "works everywhere"),
                ],
                chosen: Some("copy".into()),
                source: "/dev/vda".into(),
                read_only: false,
                network: false,
                free_bytes: Some(2 << 30),
                free_inodes: Some(7),
                content: ContentReport {
                    in_store: false,
                    directory: WirePath::Text("/.deployx_snapshots".into()),
                },
                fidelity: FidelityReport {
                    directory: Some(WirePath::Text("/".into())),
                    not_tried: None,
                    found: Some(Fidelity {
                        time_step_ns: Some(2_000_000_000),
                        xattrs: Some(true),
                        acls: Some(true),
                        hard_links: Some(true),
                        symlinks: Some(true),
                        sparse_files: Some(true),
                        case_sensitive: Some(false),
                        long_names: Some(true),
                        byte_names: Some(true),
                        flags: Some(true),
                        modes: Some(true),
                        owners: None,
                        fifos: Some(true),
                        devices: None,
                    }),
                },
            }],
            shells: vec![ShellReport {
                name: "bash".into(),
                path: WirePath::Text("/bin/bash".into()),
            }],
            plugins: vec![RuleSetReport {
                name: "bash".into(),
                version: "1".into(),
                shells: vec!["bash".into(), "sh".into()],
                answers: vec!["sh".into()],
                origin: Origin::BuiltIn,
                refused: None,
            }],
            interception: Vec::new(),
            limits: LimitsReport {
                limits: Limits::default(),
                max_store_bytes: None,
                open_files: 1024,
                watches: WatchLimits {
                    watches: Some(65_536),
                    instances: None,
                    queued: Some(16_384),
                },
            },
            warnings: vec!["the store is in memory".into()],
        }
    }

    #[test]
    fn a_host_is_described() {
        assert_eq!(
            report(&sample(), PLAIN),
            "Store\n  \
             /tmp/.deployx_snapshots (tmpfs, does not survive a reboot)\n  \
             1 snapshot with 0 B; 1.0 GiB free\n\
             \n\
             Volume / (ext4, 2.0 GiB free)\n  \
             - reflink    ext4 has no clones\n  \
             * copy       works everywhere\n  \
             * is what auto takes, + works too, - does not work here\n  \
             clones    /.deployx_snapshots\n  \
             keeps     times to 2 s, xattrs, ACLs, hard links, symbolic links, sparse files, \
             255-byte names, non-UTF-8 names, flags, modes, fifos\n  \
             loses     upper and lower case\n  \
             not tried owners, devices\n\
             \n\
             Shells\n  bash       /bin/bash\n\
             \n\
             Rule sets\n  \
             NAME  SHELLS    FROM      ANSWERS FOR\n  \
             bash  bash, sh  built in  sh\n\
             \n\
             Limits\n  \
             content in the store         no bound\n  \
             entries in a snapshot        5000000\n  \
             content in a snapshot        16 GiB\n  \
             largest file                 8.0 GiB\n  \
             free space to leave          1.0 GiB\n  \
             time before a command        10m 00s\n  \
             open files                   1024\n  \
             watched directories          65536\n  \
             changes that wait            16384\n\
             \n\
             To look at\n  ! the store is in memory\n"
        );
    }

    #[test]
    fn a_healthy_host_is_said_to_be_one() {
        let mut sample = sample();
        sample.warnings.clear();
        sample.store.durable = true;
        sample.volumes[0].chosen = None;
        sample.volumes[0].fidelity = FidelityReport {
            directory: None,
            not_tried: Some("mounted for reading only".into()),
            found: None,
        };
        let text = report(&sample, PLAIN);
        assert!(text.ends_with("Everything is in order.\n"), "{text}");
        assert!(text.contains("survives a reboot)"), "{text}");
        assert!(text.contains("no strategy works here"), "{text}");
        assert!(
            text.contains("not tried: mounted for reading only"),
            "{text}"
        );
        sample.volumes[0].read_only = true;
        let text = report(&sample, PLAIN);
        assert!(
            text.contains("(ext4, for reading only, 2.0 GiB free)"),
            "{text}"
        );
        assert!(text.contains("no strategy is needed"), "{text}");
    }

    #[test]
    fn sessions_say_who_answers_for_them() {
        let holder = |pid, stand_in, alive| HolderReport {
            pid,
            stand_in,
            alive,
            listeners: Some(1),
        };
        let session = SessionReport {
            session: "0123456789abcdef".into(),
            holders: vec![holder(7, false, true), holder(8, true, false)],
            shells: vec![6],
            command: None,
            last_command: Some("a1b2".into()),
            late: 2,
            problem: None,
        };
        let dead = SessionReport {
            session: "ffff".into(),
            holders: Vec::new(),
            ..session.clone()
        };
        assert_eq!(
            sessions(&[session, dead], Palette { on: false }),
            "\nIntercepted sessions\n  \
             01234567   answered by 7, stand-in 8 (gone), 1 shell, a1b2 is over, 2 changes since\n  \
             ffff       nobody answers\n"
        );
        assert_eq!(sessions(&[], Palette { on: false }), "");
    }
}
