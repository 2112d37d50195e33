//! Package managers of languages: where they put what they install.

use deployx_plugin_sdk::path::Style;
use deployx_plugin_sdk::table::{Arg, Findings, HandlerCall, Outcome};
use deployx_plugin_sdk::{Certainty, Depth, Kind};

use crate::words::{merged, tree};

/// How much of a configuration is read, in bytes.
const MAX_CONFIG: usize = 65536;

fn at_home(findings: &mut Findings<'_>, name: &str, reason: &str) {
    let home = findings.place().home.map(<[u8]>::to_vec);
    match home.and_then(|home| findings.place().style.join(&home, name.as_bytes())) {
        Some(path) => findings.whole(&path, Depth::Tree, Certainty::Likely, true, reason),
        None => findings.unclear("the home directory is not known"),
    }
}

/// The nearest directory, from the working directory upward, that holds `name`.
fn holder(findings: &Findings<'_>, name: &[u8]) -> Option<Vec<u8>> {
    let place = findings.place();
    let mut at = Some(findings.cwd()?.to_vec());
    while let Some(directory) = at {
        let path = place.style.join(&directory, name)?;
        if place.view.kind(&path) != Kind::Missing {
            return Some(directory);
        }
        at = place.style.parent(&directory);
    }
    None
}

/// `npm install`, `yarn add` and the like.
pub(crate) fn npm_install(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let parsed = call.parsed;
    findings.irreversible("network", "packages are fetched");
    for cache in [".npm", ".cache", ".yarn", ".local/share/pnpm", ".bun"] {
        at_home(&mut findings, cache, "cache of packages");
    }
    if parsed.has("-g") {
        findings.unclear("where global packages lie is a matter of configuration");
        for place in [
            "/usr/local/lib/node_modules",
            "/usr/lib/node_modules",
            "/usr/local/bin",
            "/usr/bin",
        ] {
            if call.place.style == Style::Unix {
                let depth = if place.ends_with("bin") {
                    Depth::Children
                } else {
                    Depth::Tree
                };
                findings.whole(
                    place.as_bytes(),
                    depth,
                    Certainty::Likely,
                    true,
                    "global packages",
                );
            }
        }
    } else {
        let top = holder(&findings, b"package.json").or_else(|| findings.cwd().map(<[u8]>::to_vec));
        match top {
            Some(top) => {
                let names = [
                    "node_modules",
                    "package.json",
                    "package-lock.json",
                    "npm-shrinkwrap.json",
                    "yarn.lock",
                    "pnpm-lock.yaml",
                    "bun.lock",
                    "bun.lockb",
                    ".yarn",
                    ".pnp.cjs",
                    ".pnp.loader.mjs",
                ];
                for name in names {
                    if let Some(path) = call.place.style.join(&top, name.as_bytes()) {
                        findings.whole(
                            &path,
                            Depth::Tree,
                            Certainty::Certain,
                            true,
                            "packages of the project",
                        );
                    }
                }
            }
            None => findings.unclear("the working directory is not known"),
        }
    }
    let npm = call.name.rsplit('/').next() == Some("npm");
    if !npm || !parsed.has("--ignore-scripts") {
        findings.unclear("scripts of packages run");
    }
    if parsed.has("-w") {
        findings.unclear("packages of a workspace are installed");
    }
    merged(call.described(), findings.finish())
}

/// `pip install` and `pip uninstall`: which environment is in use is not known.
pub(crate) fn pip_install(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let installs = call.args.iter().any(|arg| arg.text == b"install");
    if installs {
        findings.irreversible("network", "packages are fetched");
        findings.irreversible("packages", "scripts of packages run");
        findings.unclear("build scripts of packages may run");
    } else {
        findings.destructive();
        findings.unclear("it is not known from which environment packages are removed");
    }
    at_home(&mut findings, ".cache/pip", "cache of packages");
    let elsewhere = ["-t", "--prefix", "--root"]
        .iter()
        .any(|name| call.parsed.has(name));
    if elsewhere {
        return merged(call.described(), findings.finish());
    }
    match (call.place.variable)("VIRTUAL_ENV").filter(|value| !value.is_empty()) {
        Some(environment) => tree(&mut findings, &environment, "the virtual environment"),
        None => {
            for name in [".local/lib", ".local/bin", ".local/share"] {
                at_home(&mut findings, name, "packages of the user");
            }
            if call.place.style == Style::Unix {
                for path in ["/usr/local/lib", "/usr/local/bin", "/usr/lib/python3"] {
                    findings.path(
                        path.as_bytes(),
                        Depth::Tree,
                        Certainty::Possible,
                        true,
                        "packages of the system",
                    );
                }
            }
        }
    }
    merged(call.described(), findings.finish())
}

/// `cargo clean`: removes the directory of results, wherever it is configured to be.
pub(crate) fn cargo_clean(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    if call.parsed.has("-n") {
        return findings.finish();
    }
    if configured(&findings, b"target-dir")
        || call.parsed.has("--config")
        || call.parsed.has("--manifest-path")
    {
        findings.unclear("the directory of results is a matter of configuration");
    }
    if call.parsed.has("--target-dir") {
        return merged(call.described(), findings.finish());
    }
    let variable = (call.place.variable)("CARGO_TARGET_DIR").filter(|value| !value.is_empty());
    let directory = variable.or_else(|| {
        let top = holder(&findings, b"Cargo.lock").or_else(|| holder(&findings, b"Cargo.toml"))?;
        call.place.style.join(&top, b"target")
    });
    match directory {
        Some(directory) => {
            let arg = Arg::whole(directory);
            findings.role(&deployx_plugin_sdk::table::Role::Remove, &arg);
        }
        None => findings.unclear("the workspace is not known"),
    }
    merged(call.described(), findings.finish())
}

/// Whether a configuration of Cargo that applies here names `key`.
fn configured(findings: &Findings<'_>, key: &[u8]) -> bool {
    let place = findings.place();
    let mut directories: Vec<Vec<u8>> = place.home.iter().map(|home| home.to_vec()).collect();
    let mut at = findings.cwd().map(<[u8]>::to_vec);
    while let Some(directory) = at {
        at = place.style.parent(&directory);
        directories.push(directory);
    }
    directories.iter().any(|directory| {
        [&b".cargo/config.toml"[..], b".cargo/config"]
            .iter()
            .any(|name| {
                let text = place
                    .style
                    .join(directory, name)
                    .and_then(|path| place.view.read(&path, MAX_CONFIG));
                text.is_some_and(|text| text.windows(key.len()).any(|part| part == key))
            })
    })
}
