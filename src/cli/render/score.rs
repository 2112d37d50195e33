//! How well the rules foretold what commands touched.

use super::table::{Columns, Tone};
use super::text::Lines as _;
use super::{Palette, text};
use crate::engine::{CommandScore, Score, ScoreReport};

/// At most so many misses are shown of a command.
const SHOWN: usize = 3;

/// The whole text; nothing where there is nothing to judge by.
pub(crate) fn report(report: &ScoreReport, palette: Palette) -> String {
    if report.snapshots == 0 {
        return String::new();
    }
    let titles = ["COMMAND", "LINES", "RECALL", "PRECISION", "MISSES"];
    let mut columns = Columns::new(palette, &titles);
    columns.right(&[1]);
    for command in &report.commands {
        row(&mut columns, &text::line(&command.command), command);
    }
    let total = CommandScore {
        score: report.total,
        ..CommandScore::default()
    };
    row(&mut columns, "all together", &total);
    let mut out = columns.text();
    let missed = report.commands.iter().filter(|one| !one.misses.is_empty());
    for command in missed {
        out.line(format_args!(
            "\n{}",
            palette.bold(&format!("Missed by {}", text::line(&command.command)))
        ));
        for miss in command.misses.iter().take(SHOWN) {
            let path = text::path(&miss.path);
            out.line(format_args!("  {path}  {}", palette.dim(&miss.snapshot_id)));
        }
        let rest = misses(command.score) - command.misses.len().min(SHOWN) as u64;
        if rest > 0 {
            out.line(format_args!("  and {rest} more"));
        }
    }
    out
}

fn row(columns: &mut Columns, name: &str, command: &CommandScore) {
    let score = command.score;
    let share = |share: Option<f64>, part: u64, whole: u64| match share {
        Some(share) => format!("{:.0} % ({part}/{whole})", (share * 100.0).floor()),
        None => "-".to_owned(),
    };
    let missed = misses(score);
    let tone = if missed > 0 { Tone::Bad } else { Tone::Plain };
    let recall = share(score.recall, score.touched_in_scope, score.touched);
    let precision = share(score.precision, score.claims_borne_out, score.claims);
    columns.row([
        (name, Tone::Accent),
        (score.lines.to_string().as_str(), Tone::Plain),
        (recall.as_str(), tone),
        (precision.as_str(), Tone::Plain),
        (missed.to_string().as_str(), tone),
    ]);
}

fn misses(score: Score) -> u64 {
    score.touched - score.touched_in_scope
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Miss;
    use crate::path::AbsPath;

    #[test]
    fn misses_are_named_beneath_the_table() {
        let score = Score {
            lines: 2,
            claims: 4,
            claims_borne_out: 2,
            precision: Some(0.5),
            touched: 1000,
            touched_in_scope: 999,
            recall: Some(0.999),
        };
        let text = report(
            &ScoreReport {
                snapshots: 2,
                total: score,
                commands: vec![CommandScore {
                    command: "cp".into(),
                    score,
                    misses: vec![Miss {
                        path: AbsPath::new("/a\nb").unwrap(),
                        snapshot_id: "0123456789abcdef".into(),
                    }],
                }],
            },
            Palette { on: false },
        );
        assert_eq!(
            text,
            "COMMAND       LINES  RECALL           PRECISION   MISSES\n\
             cp                2  99 % (999/1000)  50 % (2/4)  1\n\
             all together      2  99 % (999/1000)  50 % (2/4)  1\n\
             \n\
             Missed by cp\n  /a\\nb  0123456789abcdef\n"
        );
        assert_eq!(report(&ScoreReport::default(), Palette { on: false }), "");
    }
}
