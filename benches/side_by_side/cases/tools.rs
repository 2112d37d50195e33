//! The tools that are compared over whole cycles, each as a few lines of shell.
//!
//! The scripts run under `sh -eu` with `TREE` (the tree), `PARENT` and `NAME` (its directory and its
//! name there), `REPO` (where snapshots go) and `N` (the number of the snapshot, from 1). Each tool
//! is used so that an undo gives the tree back as exactly as the tool can.

/// A tool that can take snapshots of a tree and give them back.
pub(crate) struct Tool {
    /// Its name in the report.
    pub(crate) name: &'static str,
    /// Prints its version; prints nothing or fails where the tool is not installed.
    pub(crate) version: &'static str,
    /// Makes an empty repository; not measured.
    pub(crate) prepare: &'static str,
    /// Takes snapshot `N`.
    pub(crate) snapshot: &'static str,
    /// Runs the arguments in the tree; not measured. Only DeployX has to know of it.
    pub(crate) change: &'static str,
    /// Gives the tree back as it was at snapshot `N`.
    pub(crate) undo: &'static str,
}

/// Runs the arguments in the tree.
pub(crate) const PLAIN_CHANGE: &str = r#"cd "$TREE"; "$@""#;

/// DeployX first, then its peers.
pub(crate) const TOOLS: [Tool; 6] = [
    Tool {
        name: "deployx",
        version: r#""$DEPLOYX" --version"#,
        prepare: ":",
        snapshot: r#""$DEPLOYX" --snapshot-dir "$REPO" run --strategy "$STRATEGY" \
            --cwd "$TREE" --path "$TREE" -- true"#,
        change: r#""$DEPLOYX" --snapshot-dir "$REPO" run --strategy "$STRATEGY" \
            --cwd "$TREE" --path "$TREE" -- "$@""#,
        undo: r#""$DEPLOYX" --snapshot-dir "$REPO" rollback last --yes"#,
    },
    Tool {
        name: "git",
        version: "git --version",
        prepare: r#"export GIT_DIR="$REPO" GIT_WORK_TREE="$TREE"
            git init -q
            git config user.name bench
            git config user.email bench@localhost
            git config gc.auto 0"#,
        snapshot: r#"export GIT_DIR="$REPO" GIT_WORK_TREE="$TREE"
            cd "$TREE"
            git add -Af .
            git commit -q --allow-empty -m "$N""#,
        change: PLAIN_CHANGE,
        undo: r#"export GIT_DIR="$REPO" GIT_WORK_TREE="$TREE"
            cd "$TREE"
            git reset -q --hard
            git clean -qffdx"#,
    },
    Tool {
        name: "restic",
        version: "restic version",
        prepare: r#"export RESTIC_PASSWORD=bench RESTIC_CACHE_DIR="$REPO.cache"
            restic -r "$REPO" init"#,
        snapshot: r#"export RESTIC_PASSWORD=bench RESTIC_CACHE_DIR="$REPO.cache"
            cd "$PARENT"
            restic -r "$REPO" backup -q "$NAME""#,
        change: PLAIN_CHANGE,
        undo: r#"export RESTIC_PASSWORD=bench RESTIC_CACHE_DIR="$REPO.cache"
            rm -rf "$TREE"
            restic -r "$REPO" restore -q latest --target "$PARENT""#,
    },
    Tool {
        name: "borg",
        version: "borg --version",
        prepare: r#"export BORG_BASE_DIR="$REPO.cache"
            borg init -e none "$REPO""#,
        snapshot: r#"export BORG_BASE_DIR="$REPO.cache"
            export BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes
            cd "$PARENT"
            borg create "$REPO::$N" "$NAME""#,
        change: PLAIN_CHANGE,
        undo: r#"export BORG_BASE_DIR="$REPO.cache"
            export BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes
            rm -rf "$TREE"
            cd "$PARENT"
            borg extract "$REPO::$N""#,
    },
    Tool {
        name: "rsync --link-dest",
        version: "rsync --version | head -n 1",
        prepare: r#"mkdir "$REPO""#,
        snapshot: r#"if [ "$N" = 1 ]; then
                rsync -aHAX "$TREE/" "$REPO/$N/"
            else
                rsync -aHAX --link-dest="$REPO/$((N - 1))" "$TREE/" "$REPO/$N/"
            fi"#,
        change: PLAIN_CHANGE,
        undo: r#"rsync -aHAX --delete "$REPO/$N/" "$TREE/""#,
    },
    Tool {
        name: "cp -a",
        version: "cp --version | head -n 1",
        prepare: r#"mkdir "$REPO""#,
        snapshot: r#"cp -a "$TREE" "$REPO/$N""#,
        change: PLAIN_CHANGE,
        undo: r#"rm -rf "$TREE"
            cp -a "$REPO/$N" "$TREE""#,
    },
];
