//! The tools that are compared over whole cycles, each as a few lines of shell.
//!
//! The scripts run under `sh -eu` with `TREE` (the tree), `PARENT` and `NAME` (its directory and its
//! name there), `REPO` (where snapshots go), `N` (the number of the snapshot, from 1), `VICTIM` (the
//! subtree that gets deleted), `LIST` (the file that names the files that get edited), `OPTION` and
//! `DURABLE` (of the [`Tool`]; empty or not). Each tool is used so that an undo gives the tree back as exactly as the tool can.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::common::process::output;
use crate::common::program::BINARY;

/// A tool that can take snapshots of a tree and give them back.
pub(crate) struct Tool {
    /// Its name in the report.
    pub(crate) name: &'static str,
    /// What it cannot work without.
    pub(crate) needs: Needs,
    /// What makes it this one of several alike: the strategy of DeployX, an option of `cp`.
    pub(crate) option: &'static str,
    /// Sees to it that everything is on stable storage in the end; DeployX always does.
    pub(crate) durable: bool,
    /// How it is used.
    pub(crate) how: How,
}

/// What a tool needs of a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing in particular.
    Nothing,
    /// That something can be made durable.
    Disk,
    /// Files that share blocks.
    Clones,
    /// Snapshots of subvolumes.
    Subvolumes,
}

/// How a tool is used.
pub(crate) enum How {
    /// By scripts, each in a process of its own.
    Scripts(Scripts),
    /// Within this process, by an engine that lives on between snapshots.
    Resident,
}

/// A tool as scripts.
pub(crate) struct Scripts {
    /// Prints its version; prints nothing or fails where the tool is not installed.
    pub(crate) version: &'static str,
    /// Makes an empty repository; not measured.
    pub(crate) prepare: &'static str,
    /// Takes snapshot `N`; none where only the undo says something.
    pub(crate) snapshot: Option<&'static str>,
    /// Runs the arguments in the tree; not measured. Only DeployX has to know of it.
    pub(crate) change: &'static str,
    /// Gives the tree back as it was at snapshot `N`.
    pub(crate) undo: &'static str,
}

/// The tools whose undo is not one: they copy what was destroyed, which is what an undo of DeployX is
/// compared with.
pub(crate) const VICTIMS: [&str; 4] = [
    "cp -a of what was destroyed",
    "cp -a of what was destroyed, sync -f",
    "cp -a --reflink=never of what was destroyed",
    "cp -a --reflink=never of what was destroyed, sync -f",
];

impl Tool {
    /// Its version number.
    pub(crate) fn version(&self) -> Result<String> {
        let script = match &self.how {
            How::Scripts(scripts) => scripts.version,
            How::Resident => DEPLOYX.version,
        };
        let mut shell = Command::new("sh");
        shell.args(["-euc", script]).env("DEPLOYX", BINARY);
        let said = output(&mut shell).context("is not installed")?;
        // In a pipeline the shell sees only the last program's failure.
        ensure!(!said.is_empty(), "says no version");
        let number = said
            .split_whitespace()
            .find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        Ok(number.unwrap_or("unknown").to_owned())
    }
}

/// All tools, DeployX first.
pub(crate) fn all() -> impl Iterator<Item = &'static Tool> {
    TOOLS.iter()
}

/// Runs the arguments in the tree.
const PLAIN_CHANGE: &str = r#"cd "$TREE"; "$@""#;

/// `cp`, of whatever version.
const COPY_VERSION: &str = "cp --version | head -n 1";

/// DeployX as a program, with the strategy in `OPTION`.
const DEPLOYX: Scripts = Scripts {
    version: r#""$DEPLOYX" --version"#,
    prepare: ":",
    snapshot: Some(
        r#""$DEPLOYX" --snapshot-dir "$REPO" run --strategy "$OPTION" \
            --cwd "$TREE" --path "$TREE" -- true"#,
    ),
    change: r#""$DEPLOYX" --snapshot-dir "$REPO" run --strategy "$OPTION" \
            --cwd "$TREE" --path "$TREE" -- "$@""#,
    undo: r#""$DEPLOYX" --snapshot-dir "$REPO" rollback last --yes"#,
};

/// `cp` with an option. What was copied is durable where that is asked for.
const COPIES: Scripts = Scripts {
    version: COPY_VERSION,
    prepare: r#"mkdir "$REPO""#,
    snapshot: Some(
        r#"cp -a "$OPTION" "$TREE" "$REPO/$N"
            [ -z "$DURABLE" ] || sync -f "$REPO""#,
    ),
    change: PLAIN_CHANGE,
    undo: r#"rm -rf "$TREE"
        cp -a "$OPTION" "$REPO/$N" "$TREE"
        [ -z "$DURABLE" ] || sync -f "$TREE""#,
};

/// Copies what the change destroys.
const VICTIM_COPY: Scripts = Scripts {
    version: COPY_VERSION,
    prepare: r#"mkdir "$REPO""#,
    snapshot: None,
    change: ":",
    undo: r#"cd "$TREE"
        cp -a "$OPTION" --parents -t "$REPO" "$VICTIM"
        sort -u "$LIST" | xargs -d '\n' cp -a "$OPTION" --parents -t "$REPO"
        [ -z "$DURABLE" ] || sync -f "$REPO""#,
};

/// One of several tools that are used alike.
const fn tool(name: &'static str, needs: Needs, option: &'static str, how: How) -> Tool {
    Tool {
        name,
        needs,
        option,
        durable: false,
        how,
    }
}

/// The same tool where something can be made durable, which it does.
const fn durable(name: &'static str, needs: Needs, option: &'static str, how: How) -> Tool {
    Tool {
        durable: true,
        ..tool(name, needs, option, how)
    }
}

/// DeployX first, then its peers.
static TOOLS: [Tool; 17] = [
    tool(
        "deployx copy",
        Needs::Nothing,
        "copy",
        How::Scripts(DEPLOYX),
    ),
    tool(
        "deployx reflink",
        Needs::Clones,
        "reflink",
        How::Scripts(DEPLOYX),
    ),
    tool(
        "deployx journal",
        Needs::Nothing,
        "journal",
        How::Scripts(DEPLOYX),
    ),
    tool(
        "deployx journal, agent",
        Needs::Nothing,
        "journal",
        How::Resident,
    ),
    tool(
        "deployx subvolume",
        Needs::Subvolumes,
        "subvolume",
        How::Scripts(DEPLOYX),
    ),
    Tool {
        name: "git",
        needs: Needs::Nothing,
        option: "",
        durable: false,
        how: How::Scripts(Scripts {
            version: "git --version",
            prepare: r#"export GIT_DIR="$REPO" GIT_WORK_TREE="$TREE"
                git init -q
                git config user.name bench
                git config user.email bench@localhost
                git config gc.auto 0"#,
            snapshot: Some(
                r#"export GIT_DIR="$REPO" GIT_WORK_TREE="$TREE"
                cd "$TREE"
                git add -Af .
                git commit -q --allow-empty -m "$N""#,
            ),
            change: PLAIN_CHANGE,
            undo: r#"export GIT_DIR="$REPO" GIT_WORK_TREE="$TREE"
                cd "$TREE"
                git reset -q --hard
                git clean -qffdx"#,
        }),
    },
    Tool {
        name: "restic",
        needs: Needs::Nothing,
        option: "",
        durable: false,
        how: How::Scripts(Scripts {
            version: "restic version",
            prepare: r#"export RESTIC_PASSWORD=bench RESTIC_CACHE_DIR="$REPO.cache"
                restic -r "$REPO" init"#,
            snapshot: Some(
                r#"export RESTIC_PASSWORD=bench RESTIC_CACHE_DIR="$REPO.cache"
                cd "$PARENT"
                restic -r "$REPO" backup -q "$NAME""#,
            ),
            change: PLAIN_CHANGE,
            undo: r#"export RESTIC_PASSWORD=bench RESTIC_CACHE_DIR="$REPO.cache"
                rm -rf "$TREE"
                restic -r "$REPO" restore -q latest --target "$PARENT""#,
        }),
    },
    Tool {
        name: "borg",
        needs: Needs::Nothing,
        option: "",
        durable: false,
        how: How::Scripts(Scripts {
            version: "borg --version",
            prepare: r#"export BORG_BASE_DIR="$REPO.cache"
                borg init -e none "$REPO""#,
            snapshot: Some(
                r#"export BORG_BASE_DIR="$REPO.cache"
                export BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes
                cd "$PARENT"
                borg create "$REPO::$N" "$NAME""#,
            ),
            change: PLAIN_CHANGE,
            undo: r#"export BORG_BASE_DIR="$REPO.cache"
                export BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes
                rm -rf "$TREE"
                cd "$PARENT"
                borg extract "$REPO::$N""#,
        }),
    },
    Tool {
        name: "rsync --link-dest",
        needs: Needs::Nothing,
        option: "",
        durable: false,
        how: How::Scripts(Scripts {
            version: "rsync --version | head -n 1",
            prepare: r#"mkdir "$REPO""#,
            snapshot: Some(
                r#"if [ "$N" = 1 ]; then
                    rsync -aHAX "$TREE/" "$REPO/$N/"
                else
                    rsync -aHAX --link-dest="$REPO/$((N - 1))" "$TREE/" "$REPO/$N/"
                fi"#,
            ),
            change: PLAIN_CHANGE,
            undo: r#"rsync -aHAX --delete "$REPO/$N/" "$TREE/""#,
        }),
    },
    tool("cp -a", Needs::Nothing, NEVER, How::Scripts(COPIES)),
    durable("cp -a, sync -f", Needs::Disk, NEVER, How::Scripts(COPIES)),
    tool(
        "cp -a --reflink=always",
        Needs::Clones,
        ALWAYS,
        How::Scripts(COPIES),
    ),
    durable(
        "cp -a --reflink=always, sync -f",
        Needs::Clones,
        ALWAYS,
        How::Scripts(COPIES),
    ),
    tool(VICTIMS[0], Needs::Nothing, AUTO, How::Scripts(VICTIM_COPY)),
    durable(VICTIMS[1], Needs::Disk, AUTO, How::Scripts(VICTIM_COPY)),
    tool(VICTIMS[2], Needs::Disk, NEVER, How::Scripts(VICTIM_COPY)),
    durable(VICTIMS[3], Needs::Disk, NEVER, How::Scripts(VICTIM_COPY)),
];

/// Shares content where that is possible, as `cp` does by itself.
const AUTO: &str = "--reflink=auto";
/// Copies content even where it could be shared.
const NEVER: &str = "--reflink=never";
/// Shares content.
const ALWAYS: &str = "--reflink=always";
