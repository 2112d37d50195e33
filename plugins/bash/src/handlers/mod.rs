//! Rules in code, for what a table cannot say: one file a family of programs.

mod attributes;
mod awk;
mod build;
mod compress;
mod copy;
mod cpio;
mod database;
mod dd;
mod editor;
mod find;
mod keys;
mod network;
mod patch;
mod perl;
mod pieces;
mod prefix;
mod rename;
mod sed;
mod sed_script;
mod shell;
mod system;
mod user;
mod wildcard;
mod xargs;

use deployx_plugin_sdk::table::{Handler, Handlers};

/// Those of programs that exist on Unix only, by the names that tables use.
const OWN: &[(&str, Handler)] = &[
    ("alternatives", system::alternatives),
    ("awk", awk::awk),
    ("chattr", attributes::chattr),
    ("chmod", attributes::chmod),
    ("chown", attributes::chown),
    ("compiler", build::compiler),
    ("compress", compress::compress),
    ("compress_zstd", compress::zstd),
    ("copy", copy::copy),
    ("cpio", cpio::cpio),
    ("csplit", pieces::csplit),
    ("date", system::date),
    ("dd", dd::dd),
    ("editor", editor::nano),
    ("env", prefix::env),
    ("find", find::find),
    ("flock", prefix::flock),
    ("gpg", keys::gpg),
    ("install", copy::install),
    ("ip", system::ip),
    ("ln", copy::link),
    ("mktemp", pieces::mktemp),
    ("mount", system::mount),
    ("netcat", network::netcat),
    ("openssl", keys::openssl),
    ("patch", patch::patch),
    ("perl", perl::perl),
    ("psql", database::psql),
    ("rename", rename::rename),
    ("rmdir", copy::rmdir),
    ("script", prefix::script),
    ("sed", sed::sed),
    ("sg", user::sg),
    ("shell", shell::shell),
    ("shred", copy::shred),
    ("split", pieces::split),
    ("sqlite3", database::sqlite3),
    ("ssh_keygen", keys::ssh_keygen),
    ("su", user::su),
    ("sudo", prefix::sudo),
    ("users", system::users),
    ("vim", editor::vim),
    ("watch", prefix::watch),
    ("xargs", xargs::xargs),
];

/// Every rule in code that the built-in tables name.
pub(crate) fn all() -> Handlers {
    Handlers::of(&[deployx_rules_common::HANDLERS, OWN].concat())
}

#[cfg(test)]
mod tests;
