//! Log lines on standard error, for people who look for the reason of something.

use tracing_subscriber::EnvFilter;

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
    // Starting fails only when a subscriber is there already, which then does the work.
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // It would say so on standard error, which may be what cannot be written to, and panic.
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .with_ansi(color)
        .with_target(verbose > 1);
    let _ = if style.json {
        lines.json().flatten_event(true).try_init()
    } else {
        lines.try_init()
    };
    outcome
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
