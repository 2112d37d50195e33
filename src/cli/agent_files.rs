//! The files that hold what the agent proves itself with and what it trusts.

use std::path::{Path, PathBuf};

use url::Url;

use super::agent_settings::{AgentSection, invalid};
use super::args::AgentArgs;
use super::environment::Environment;
use crate::agent::Secret;
use crate::agent::transport::TlsSettings;
use crate::error::{IoContext as _, Result, Stage};
use crate::path::escape;
#[cfg(unix)]
use crate::sys::durable::own_uid;

/// The longest token, and the longest file with certificates.
const MAX_FILE: u64 = 1 << 20;

/// The token: from the file that is named, else from the environment.
pub(super) fn token(
    args: &AgentArgs,
    section: &AgentSection,
    environment: &Environment,
) -> Result<Option<Secret>> {
    let named = |file: &PathBuf| read_private(file, "token file");
    // A flag goes before the environment, the environment before the configuration.
    let text = match (
        &args.token_file,
        &environment.agent_token,
        &section.token_file,
    ) {
        (Some(file), ..) | (None, None, Some(file)) => named(file)?,
        (None, Some(token), _) => token.clone(),
        (None, None, None) => return Ok(None),
    };
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid(
            "the token has to be one word of visible ASCII characters, as an HTTP header needs it",
        ));
    }
    Ok(Some(Secret::new(token)))
}

/// Trust and identity, from the files that are named.
pub(super) fn tls(args: &AgentArgs, section: &AgentSection, server: &Url) -> Result<TlsSettings> {
    let authorities = args.ca_file.as_ref().or(section.ca_file.as_ref());
    let certificate = args
        .client_certificate
        .as_ref()
        .or(section.client_certificate.as_ref());
    let key = args.client_key.as_ref().or(section.client_key.as_ref());
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((
            read(certificate)?,
            read_private(key, "private key")?.into_bytes(),
        )),
        (None, None) => None,
        _ => {
            return Err(invalid(
                "a client certificate needs its private key, and the key its certificate",
            ));
        }
    };
    let tls = TlsSettings {
        authorities: authorities.map(|file| read(file)).transpose()?,
        identity,
    };
    // What cannot be used is told now and not at every attempt to connect. A host without authorities can
    // still speak to itself without encryption.
    let named = tls.authorities.is_some() || tls.identity.is_some();
    if named || matches!(server.scheme(), "https" | "wss") {
        tls.connector()?;
    }
    Ok(tls)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let name = escape(file);
    let context = || format!("cannot read {name}");
    let metadata = std::fs::metadata(file).context(Stage::Request, context)?;
    if !metadata.is_file() || metadata.len() > MAX_FILE {
        return Err(invalid(format!(
            "{name} is no file, or larger than {MAX_FILE} bytes"
        )));
    }
    std::fs::read(file).context(Stage::Request, context)
}

/// Reads a file that nobody but its owner may touch.
fn read_private(file: &Path, what: &str) -> Result<String> {
    let bytes = read(file)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        let name = escape(file);
        let metadata =
            std::fs::metadata(file).context(Stage::Request, || format!("cannot read {name}"))?;
        if ![0, own_uid()].contains(&metadata.uid()) {
            return Err(invalid(format!(
                "the {what} {name} belongs to user {}, who can change it: it has to belong to the \
                 user that runs the agent",
                metadata.uid()
            )));
        }
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(invalid(format!(
                "the {what} {name} has mode {mode:04o}, so others can read or change it: chmod \
                 600 it, and replace the secret where others may have read it"
            )));
        }
    }
    String::from_utf8(bytes).map_err(|_| invalid(format!("the {what} {} is no text", escape(file))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_token_comes_from_a_private_file_or_the_environment() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "from-file\n").unwrap();
        let mut args = AgentArgs::default();
        let section = AgentSection::default();
        let mut environment = Environment::default();
        let read = |args: &AgentArgs, environment: &Environment| token(args, &section, environment);
        assert_eq!(read(&args, &environment).unwrap(), None);
        environment.agent_token = Some("from-environment".into());
        assert_eq!(
            read(&args, &environment).unwrap(),
            Some(Secret::new("from-environment"))
        );
        args.token_file = Some(file.clone());
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(
            read(&args, &environment)
                .unwrap_err()
                .to_string()
                .contains("0644")
        );
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(
            read(&args, &environment).unwrap(),
            Some(Secret::new("from-file"))
        );
        std::fs::write(&file, "two words\n").unwrap();
        assert!(read(&args, &environment).is_err());
    }
}
