//! What works on this host.

use super::table::{Columns, Tone};
use super::text::Lines as _;
use super::{Palette, text};
use crate::engine::{DoctorReport, StoreReport, VolumeReport};
use crate::infer::{Origin, RuleSetReport};

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
    let mut out = format!(
        "{} {} ({})\n",
        palette.bold("Volume"),
        text::wire(&volume.mount_point),
        text::line(&volume.filesystem)
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
        None => out.line(format_args!("  {}", palette.bad("no strategy works here"))),
    }
    out
}

fn limits(report: &DoctorReport) -> [(&'static str, String); 6] {
    let limits = report.limits.limits;
    [
        ("entries in a snapshot", limits.max_entries.to_string()),
        ("content in a snapshot", text::size(limits.max_bytes)),
        ("largest file", text::size(limits.max_file_bytes)),
        ("free space to leave", text::size(limits.min_free_bytes)),
        ("time before a command", text::span(limits.max_duration)),
        ("open files", report.limits.open_files.to_string()),
    ]
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
    use crate::engine::{LimitsReport, ShellReport, StrategyReport};
    use crate::path::WirePath;
    use crate::request::Limits;

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
            limits: LimitsReport {
                limits: Limits::default(),
                open_files: 1024,
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
             Volume / (ext4)\n  \
             - reflink    ext4 has no clones\n  \
             * copy       works everywhere\n  \
             * is what auto takes, + works too, - does not work here\n\
             \n\
             Shells\n  bash       /bin/bash\n\
             \n\
             Rule sets\n  \
             NAME  SHELLS    FROM      ANSWERS FOR\n  \
             bash  bash, sh  built in  sh\n\
             \n\
             Limits\n  \
             entries in a snapshot        5000000\n  \
             content in a snapshot        16 GiB\n  \
             largest file                 8.0 GiB\n  \
             free space to leave          1.0 GiB\n  \
             time before a command        10m 00s\n  \
             open files                   1024\n\
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
        let text = report(&sample, PLAIN);
        assert!(text.ends_with("Everything is in order.\n"), "{text}");
        assert!(text.contains("survives a reboot)"), "{text}");
        assert!(text.contains("no strategy works here"), "{text}");
    }
}
