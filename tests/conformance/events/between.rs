//! What others change between commands.

use super::{Bench, judged, others_may_run, rounds, source};
use crate::common::{fixture, shell};

/// Changes by others, each before a command that touches the same entries.
const OTHERS: &[&str] = &[
    "echo other >> src/file1.txt; chmod 640 src/file2.txt",
    "mv src/deep docs/; mkdir src/deep; echo x > src/deep/new",
    "rm -rf docs; mkdir docs; echo y > docs/z; ln docs/z docs/z2",
    "mv src t; mkdir src; mv t/file1.txt src/; echo late > t/file9.txt",
    "mkdir -p n/e/w; echo 1 > n/e/w/1; mv n/e/w src/",
    "touch -d 2001-01-01 src/file1.txt; setfattr -n user.x -v y src/file1.txt 2>/dev/null; true",
    "rm -rf src t; mkdir -p src/deep; for i in 1 2 3; do echo $i > src/file$i.txt; done",
    "echo 1 > src/a; mv src/a src/b; mv src/b src/file1.txt",
];

#[test]
fn what_others_changed_between_commands_is_what_comes_back() {
    let test = "what_others_changed_between_commands_is_what_comes_back";
    if !judged(test) {
        return;
    }
    let _machine = others_may_run();
    let mut done = 0;
    for round in 0..rounds() {
        let bench = Bench::new(source(round));
        fixture(&bench.tree);
        bench.run("true");
        for others in OTHERS {
            shell(&bench.tree, others);
            bench.remember();
            bench.undoes(
                "echo mine >> src/file1.txt; rm -rf docs/* src/deep; for f in src/*; do [ -f $f ] && echo x >> $f; done; mkdir made; mv src made/",
            );
            // Only now: what the engine remembers of the command must not hide what others do.
            bench.undoes("rm -rf ./*");
            done += 2;
        }
    }
    println!("{test}: {done} rollbacks, 0 entries wrong");
}

#[test]
fn a_command_without_changes_sees_none_of_the_others() {
    let test = "a_command_without_changes_sees_none_of_the_others";
    if !judged(test) {
        return;
    }
    let _machine = others_may_run();
    for round in 0..2 {
        let bench = Bench::new(source(round));
        fixture(&bench.tree);
        for others in OTHERS {
            shell(&bench.tree, others);
            let report = bench.run("true");
            let counts = report.changes;
            assert_eq!(
                (
                    counts.created,
                    counts.modified,
                    counts.deleted,
                    counts.metadata
                ),
                (0, 0, 0, 0),
                "{others}"
            );
        }
    }
}
