//! Log lines on standard error, for people who look for the reason of something.

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// How log lines look.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Style {
    /// One JSON object a line.
    pub(crate) json: bool,
    /// A service: says more without being asked.
    pub(crate) service: bool,
}

/// Starts logging. `filter` (from `DEPLOYX_LOG`) goes before the level that `verbose` and `quiet`
/// ask for; one that cannot be read is reported as an error text.
pub(crate) fn start(
    filter: Option<&str>,
    verbose: u8,
    quiet: bool,
    color: bool,
    style: Style,
) -> Result<(), String> {
    let verbose = if style.service && !quiet {
        verbose.max(1)
    } else {
        verbose
    };
    let filter = match filter {
        Some(text) => {
            EnvFilter::try_new(text).map_err(|error| format!("DEPLOYX_LOG is ignored: {error}"))
        }
        None => Ok(EnvFilter::new(level(verbose, quiet))),
    };
    let (filter, outcome) = match filter {
        Ok(filter) => (filter, Ok(())),
        Err(message) => (EnvFilter::new(level(verbose, quiet)), Err(message)),
    };
    let filter = filter.and(filter_fn(is_free_of_secrets).with_max_level_hint(LevelFilter::TRACE));
    let lines = tracing_subscriber::fmt::layer()
        // It would say so on standard error, which may be what cannot be written to, and panic.
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .with_ansi(color)
        .with_target(verbose > 1);
    // Starting fails only when a subscriber is there already, which then does the work.
    let _ = if style.json {
        let lines = lines.json().flatten_event(true);
        tracing_subscriber::registry()
            .with(lines.with_filter(filter))
            .try_init()
    } else {
        tracing_subscriber::registry()
            .with(lines.with_filter(filter))
            .try_init()
    };
    outcome
}

/// Whether what is logged there never holds a secret. Libraries log requests with all of their headers,
/// the token among them, whatever the filter asks them for.
fn is_free_of_secrets(metadata: &Metadata<'_>) -> bool {
    let own = metadata.target().starts_with(env!("CARGO_PKG_NAME"));
    own || *metadata.level() <= Level::INFO
}

fn level(verbose: u8, quiet: bool) -> &'static str {
    match (verbose, quiet) {
        (0, true) => "error",
        (0, false) => "warn",
        (1, _) => "info",
        _ => "debug",
    }
}

#[cfg(test)]
mod tests {
    use super::level;

    #[test]
    fn asking_for_more_goes_before_asking_for_less() {
        assert_eq!(level(0, false), "warn");
        assert_eq!(level(0, true), "error");
        assert_eq!(level(1, false), "info");
        assert_eq!(level(2, true), "debug");
    }
}
