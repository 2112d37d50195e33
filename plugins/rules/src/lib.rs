//! Programs that exist under every shell, described once for all rule sets: tables, and the rules in
//! code that they name. A rule set embeds [`TABLES`] beside its own and adds [`HANDLERS`] to its own.

mod archive;
mod container;
mod git;
mod git_paths;
mod git_push;
mod package;
mod python;
mod remote;
mod rsync;
mod tar;
mod url;
pub mod words;

use deployx_plugin_sdk::table::Handler;

/// The tables: each file's name and its text. Their commands are in the style `posix`.
pub const TABLES: &[(&str, &str)] = &[
    (
        "common/archives.toml",
        include_str!("../common/archives.toml"),
    ),
    (
        "common/containers.toml",
        include_str!("../common/containers.toml"),
    ),
    ("common/git.toml", include_str!("../common/git.toml")),
    (
        "common/languages.toml",
        include_str!("../common/languages.toml"),
    ),
    (
        "common/network.toml",
        include_str!("../common/network.toml"),
    ),
    (
        "common/packages.toml",
        include_str!("../common/packages.toml"),
    ),
];

/// The rules in code that the tables name.
pub const HANDLERS: &[(&str, Handler)] = &[
    ("7z", archive::seven_zip),
    ("cargo_clean", package::cargo_clean),
    ("curl", url::curl),
    ("docker_cp", container::copy),
    ("docker_run", container::run),
    ("effects", words::effects),
    ("git", git::changes),
    ("git_checkout", git_paths::checkout),
    ("git_clean", git_paths::clean),
    ("git_clone", git::clone),
    ("git_init", git::init),
    ("git_look", git::looks),
    ("git_push", git_push::push),
    ("git_paths", git_paths::restore_or_remove),
    ("npm_install", package::npm_install),
    ("pip_install", package::pip_install),
    ("python", python::python),
    ("rsync", rsync::rsync),
    ("scp", remote::scp),
    ("ssh", remote::ssh),
    ("tar", tar::tar),
    ("unzip", archive::unzip),
    ("wget", url::wget),
    ("zip", archive::zip),
];
