//! Progress on standard error: bars for work that takes a while, and warnings.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::render::text;
use super::screen::{self, Screen};
use crate::progress::{Event, Phase, Progress};

/// Work that is done sooner shows nothing.
const PATIENCE: Duration = Duration::from_millis(300);

/// Shows [`Event`]s.
pub(crate) struct Bars {
    screen: Screen,
    /// Bars are drawn: standard error is a terminal and somebody wants to see them.
    drawn: bool,
    current: Mutex<Option<Work>>,
}

/// The phase that is going on.
struct Work {
    phase: Phase,
    total: Option<u64>,
    done: u64,
    since: Instant,
    bar: Option<ProgressBar>,
}

impl Bars {
    /// Progress for `screen`.
    pub(crate) fn new(screen: Screen) -> Self {
        Self {
            screen,
            drawn: screen.err_terminal && !screen.quiet && !screen.json,
            current: Mutex::new(None),
        }
    }

    fn current(&self) -> MutexGuard<'_, Option<Work>> {
        // A panic elsewhere leaves at worst a wrong bar.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the bar away, for text of others.
    pub(crate) fn clear(&self) {
        if let Some(bar) = self.current().take().and_then(|work| work.bar) {
            bar.finish_and_clear();
        }
    }

    fn begin(&self, phase: Phase, total: Option<u64>) {
        self.clear();
        // While the command runs the terminal is its own.
        if self.drawn && phase != Phase::Command {
            *self.current() = Some(Work {
                phase,
                total,
                done: 0,
                since: Instant::now(),
                bar: None,
            });
        }
    }

    fn advance(&self, by: u64) {
        let mut current = self.current();
        let Some(work) = current.as_mut() else {
            return;
        };
        work.done += by;
        if work.bar.is_none() && work.since.elapsed() >= PATIENCE {
            work.bar = Some(bar(work.phase, work.total, work.since.elapsed()));
        }
        if let Some(bar) = &work.bar {
            bar.set_position(work.done);
        }
    }

    /// Writes something without mixing it up with the bar.
    fn above_bar(&self, write: impl FnOnce()) {
        match self.current().as_ref().and_then(|work| work.bar.as_ref()) {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

impl Progress for Bars {
    fn event(&self, event: Event) {
        match event {
            Event::Begin { phase, total } => self.begin(phase, total),
            Event::Advance { by } => self.advance(by),
            Event::End => self.clear(),
            Event::Waiting { .. } | Event::Warning { .. } if self.screen.quiet => {}
            Event::Waiting { reason } => {
                let line = format!("deployx: waiting: {}\n", text::line(&reason));
                self.above_bar(|| screen::say(&line));
            }
            Event::Warning { path, message } => {
                let message = text::line(&message);
                let text = match path {
                    Some(path) => format!("{}: {message}", text::path(&path)),
                    None => message,
                };
                self.above_bar(|| self.screen.warn(&text));
            }
        }
    }
}

fn bar(phase: Phase, total: Option<u64>, elapsed: Duration) -> ProgressBar {
    let template = match (in_bytes(phase), total.is_some()) {
        (true, true) => "{msg} {wide_bar:.cyan/dim} {bytes}/{total_bytes} {binary_bytes_per_sec}",
        (true, false) => "{spinner} {msg} {bytes} {binary_bytes_per_sec}",
        (false, true) => "{msg} {wide_bar:.cyan/dim} {human_pos}/{human_len}",
        (false, false) => "{spinner} {msg} {human_pos}",
    };
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr())
        .with_style(style)
        .with_message(title(phase))
        .with_elapsed(elapsed)
}

/// Whether the phase counts bytes rather than entries.
fn in_bytes(phase: Phase) -> bool {
    matches!(phase, Phase::Secure | Phase::Stage | Phase::Verify)
}

fn title(phase: Phase) -> &'static str {
    match phase {
        Phase::Scan => "looking at files",
        Phase::Secure => "saving old content",
        Phase::Command => "running",
        Phase::Seal => "comparing",
        Phase::SaveCurrent => "saving current state",
        Phase::Stage => "writing old content",
        Phase::Apply => "restoring",
        Phase::Verify => "checking content",
        Phase::Compress => "compressing content",
        Phase::Expire => "deleting snapshots",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::Palette;

    const PHASES: [Phase; 10] = [
        Phase::Scan,
        Phase::Secure,
        Phase::Command,
        Phase::Seal,
        Phase::SaveCurrent,
        Phase::Stage,
        Phase::Apply,
        Phase::Verify,
        Phase::Compress,
        Phase::Expire,
    ];

    fn bars(err_terminal: bool, quiet: bool) -> Bars {
        Bars::new(Screen {
            out: Palette::new(false),
            err: Palette::new(false),
            terminal: false,
            err_terminal,
            json: false,
            quiet,
        })
    }

    #[test]
    fn every_bar_has_a_valid_template() {
        for phase in PHASES {
            for total in [None, Some(10)] {
                let bar = bar(phase, total, Duration::ZERO);
                assert_eq!(bar.length(), total);
                assert!(!bar.message().is_empty());
                bar.set_draw_target(ProgressDrawTarget::hidden());
            }
        }
    }

    #[test]
    fn nothing_is_drawn_without_a_terminal_or_when_quiet() {
        assert!(!bars(false, false).drawn);
        assert!(!bars(true, true).drawn);
        assert!(bars(true, false).drawn);
    }

    #[test]
    fn short_work_shows_no_bar() {
        let bars = bars(true, false);
        bars.begin(Phase::Scan, None);
        bars.advance(3);
        let current = bars.current();
        let work = current.as_ref().unwrap();
        assert_eq!(work.done, 3);
        assert!(work.bar.is_none() || work.since.elapsed() >= PATIENCE);
    }

    #[test]
    fn the_terminal_is_the_commands_own_while_it_runs() {
        let bars = bars(true, false);
        bars.begin(Phase::Secure, Some(9));
        bars.begin(Phase::Command, None);
        assert!(bars.current().is_none());
    }
}
