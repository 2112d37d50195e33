//! How the checks of a plugin went.

use super::text::Lines as _;
use super::{Palette, text};
use crate::plugin::{CheckOutcome, PluginReport, PluginState};

/// The whole text.
pub(crate) fn plugin(report: &PluginReport, palette: Palette) -> String {
    let mut out = String::new();
    out.line(format_args!("{}", text::wire(&report.path)));
    if !report.name.is_empty() {
        let name = format!("{} {}", report.name, report.version);
        let shells = report.shells.join(", ");
        out.line(format_args!(
            "  {} for {}",
            palette.accent(text::line(&name).trim_end()),
            text::line(&shells)
        ));
    }
    for check in &report.checks {
        let (mark, detail) = match check.outcome {
            CheckOutcome::Passed => (palette.good("ok"), text::line(&check.detail)),
            CheckOutcome::Failed => (palette.bad("no"), text::line(&check.detail)),
            CheckOutcome::NotReached => (palette.dim("--"), "not reached".to_owned()),
        };
        out.line(format_args!("  {mark}  {:<20}  {detail}", check.check));
    }
    let verdict = match report.state {
        PluginState::Active => palette.good("It can be loaded."),
        PluginState::Refused | PluginState::Disabled => palette.bad("It is refused."),
    };
    out.line(format_args!("{verdict}"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::WirePath;
    use crate::plugin::{CheckReport, Reason};

    #[test]
    fn every_check_has_a_line() {
        let check = |check, outcome, detail: &str| CheckReport {
            check,
            outcome,
            detail: detail.into(),
        };
        let report = PluginReport {
            path: WirePath::from_bytes(b"/p/libtoy.so"),
            name: String::new(),
            version: String::new(),
            shells: Vec::new(),
            state: PluginState::Refused,
            reason: Some(Reason::Library),
            message: Some("cut short".into()),
            checks: vec![
                check("file and directories", CheckOutcome::Passed, "ours"),
                check("library", CheckOutcome::Failed, "cut\x1bshort"),
                check("interface", CheckOutcome::NotReached, ""),
            ],
        };
        assert_eq!(
            plugin(&report, Palette::new(false)),
            "/p/libtoy.so\n  \
             ok  file and directories  ours\n  \
             no  library               cut\\u{1b}short\n  \
             --  interface             not reached\n\
             It is refused.\n"
        );
    }
}
