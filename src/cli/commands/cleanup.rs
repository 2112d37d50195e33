//! `deployx cleanup`: deletes snapshots that are named or that the policy picks.

use std::time::Duration;

use serde::Serialize;

use crate::cli::app::App;
use crate::cli::args::CleanupArgs;
use crate::cli::config::RetentionSection;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::progress::Bars;
use crate::cli::render::maintain as render;
use crate::request::RetentionPolicy;
use crate::store::ExpiryReport;

/// What is too old where nobody says it.
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// The result as JSON.
#[derive(Serialize)]
struct Cleanup<'a> {
    dry_run: bool,
    #[serde(flatten)]
    report: &'a ExpiryReport,
}

/// Deletes snapshots, or shows which ones it would delete.
pub(super) fn cleanup(app: &App, args: &CleanupArgs) -> Result<Exit, Failure> {
    let policy = policy(args, &app.settings.config.retention);
    let report = if app.settings.store.exists() || !args.targets.is_empty() {
        let engine = app.open_for_change()?;
        let bars = Bars::new(app.screen);
        let outcome = engine.cleanup(&args.targets, &policy, args.dry_run, &bars);
        bars.clear();
        outcome?
    } else {
        ExpiryReport::default()
    };
    let document = Cleanup {
        dry_run: args.dry_run,
        report: &report,
    };
    app.screen.result(&document, || {
        render::expiry(&report, args.dry_run, app.screen.out)
    })?;
    Ok(if report.failures.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// The policy of the flags, else of the configuration, else a day.
fn policy(args: &CleanupArgs, config: &RetentionSection) -> RetentionPolicy {
    let flags = RetentionPolicy {
        max_age: args.max_age,
        max_bytes: args.max_size,
        max_count: args.max_count,
    };
    if flags != RetentionPolicy::default() || !args.targets.is_empty() {
        return flags;
    }
    config.policy().unwrap_or(RetentionPolicy {
        max_age: Some(DEFAULT_MAX_AGE),
        ..RetentionPolicy::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> CleanupArgs {
        CleanupArgs {
            targets: Vec::new(),
            max_age: None,
            max_size: None,
            max_count: None,
            dry_run: false,
        }
    }

    #[test]
    fn a_day_is_kept_where_nobody_says_otherwise() {
        let policy = policy(&args(), &RetentionSection::default());
        assert_eq!(policy.max_age, Some(DEFAULT_MAX_AGE));
        assert_eq!(policy.max_bytes, None);
    }

    #[test]
    fn flags_replace_the_configured_policy() {
        let config = RetentionSection {
            max_count: Some(5),
            ..RetentionSection::default()
        };
        assert_eq!(policy(&args(), &config).max_count, Some(5));
        assert_eq!(policy(&args(), &config).max_age, None);
        let flags = CleanupArgs {
            max_size: Some(10),
            ..args()
        };
        assert_eq!(policy(&flags, &config).max_count, None);
        assert_eq!(policy(&flags, &config).max_bytes, Some(10));
    }

    #[test]
    fn named_snapshots_need_no_policy() {
        let named = CleanupArgs {
            targets: vec!["a1b2".into()],
            ..args()
        };
        let policy = policy(&named, &RetentionSection::default());
        assert_eq!(policy, RetentionPolicy::default());
    }
}
