//! `openssl`, `ssh-keygen` and `gpg`.

use deployx_plugin_sdk::table::{Arg, Findings, HandlerCall, Known, Outcome, Role};
use deployx_plugin_sdk::{Certainty, Depth};
use deployx_rules_common::words::{directory_part, new_names_in, not_understood, with_suffix};

/// `openssl req -out a.csr -keyout a.key`
pub(super) fn openssl(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let args = call.rest();
    let Some((command, options)) = args.split_first() else {
        findings.unclear("commands come from its input");
        return findings.finish();
    };
    let name = command.value().unwrap_or(b"");
    match name {
        b"version" | b"help" | b"list" | b"ciphers" | b"prime" | b"errstr" | b"speed" | b"info"
        | b"passwd" => {
            return findings.finish();
        }
        b"ca" | b"srp" | b"" | b"engine" => {
            return not_understood(call, "files named by its configuration are changed");
        }
        b"s_client" | b"s_server" | b"s_time" | b"ocsp" | b"ts" | b"cmp" => {
            findings.irreversible("network", "a connection is made");
        }
        b"rehash" => {
            for directory in options.iter().filter(|arg| !arg.text.starts_with(b"-")) {
                findings.role(&Role::Children, directory);
            }
            return findings.finish();
        }
        _ => {}
    }
    let mut new_key = false;
    let mut key_out = false;
    let mut rest = options.iter();
    while let Some(arg) = rest.next() {
        let text = arg.text.strip_prefix(b"-").unwrap_or(b"");
        let text = text.strip_prefix(b"-").unwrap_or(text);
        if let Some(equals) = text.iter().position(|b| *b == b'=') {
            // `-out=file`; what the rules below say of a key does not matter here.
            let (option, value) = (&text[..equals], &text[equals + 1..]);
            if writes_file(option) || option.ends_with(b"out") {
                key_out |= option == b"keyout";
                let file = Arg {
                    text: value.to_vec(),
                    known: arg.known,
                };
                findings.role(&Role::Write, &file);
            } else if option == b"newkey" {
                new_key = true;
            } else if option == b"CA" {
                let directory = directory_part(&findings, value);
                new_names_in(&mut findings, &directory, "the serial number");
            }
            continue;
        }
        match text {
            b"noout" | b"pubout" | b"pk7out" | b"text_out" | b"token_out" | b"param_out" => {}
            _ if writes_file(text) => {
                key_out |= text.ends_with(b"keyout");
                if let Some(file) = rest.next() {
                    findings.role(&Role::Write, file);
                }
            }
            b"newkey" | b"new" => new_key |= text.ends_with(b"newkey") || name == b"req",
            b"key" => {
                new_key = false;
                key_out = true;
                rest.next();
            }
            b"CA" => {
                if let Some(file) = rest.next() {
                    let directory = directory_part(&findings, &file.text);
                    new_names_in(&mut findings, &directory, "the serial number");
                }
            }
            _ if text.ends_with(b"out") && !text.is_empty() => {
                findings.unclear("an option of openssl may write a file");
            }
            _ if arg.known != Known::Whole
                && (arg.text.is_empty() || arg.text.starts_with(b"-")) =>
            {
                findings.unclear("an option of openssl is not known");
            }
            _ => {}
        }
    }
    if name == b"req" && new_key && !key_out {
        findings.role(&Role::Write, &Arg::whole("privkey.pem"));
    }
    findings.finish()
}

/// Whether an option of `openssl` names a file that it writes.
fn writes_file(option: &[u8]) -> bool {
    const OUTPUTS: [&[u8]; 24] = [
        b"out",
        b"keyout",
        b"writerand",
        b"CAserial",
        b"sess_out",
        b"msgfile",
        b"keylogfile",
        b"outdir",
        b"certsout",
        b"signer_out",
        b"certout",
        b"cacertsout",
        b"extracertsout",
        b"outpubkey",
        b"respout",
        b"reqout",
        b"rspout",
        b"crlout",
        b"chainout",
        b"centralkeyout",
        b"csrout",
        b"newkeyout",
        b"early_data_out",
        b"secout",
    ];
    OUTPUTS.contains(&option)
}

/// Files in a directory of the home directory.
fn at_home(findings: &mut Findings<'_>, name: &str, depth: Depth, certainty: Certainty) {
    let home = findings.place().home.map(<[u8]>::to_vec);
    match home.and_then(|home| findings.place().style.join(&home, name.as_bytes())) {
        Some(path) => findings.whole(&path, depth, certainty, true, "keys of the user"),
        None => findings.unclear("the home directory is not known"),
    }
}

/// `ssh-keygen -t ed25519 -f key`
pub(super) fn ssh_keygen(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let mut file = None;
    let mut operands: Vec<&Arg> = Vec::new();
    let mut looks = false;
    let mut signs = false;
    let mut args = call.rest().iter();
    while let Some(arg) = args.next() {
        let Some(text) = arg.value() else {
            if arg.text.is_empty() || arg.text.starts_with(b"-") {
                findings.unclear("an option is not known");
            }
            operands.push(arg);
            continue;
        };
        match text {
            b"-f" => file = args.next(),
            b"-l" | b"-F" | b"-y" | b"-L" | b"-B" | b"-e" | b"-i" => {
                looks = true;
                if text == b"-F" {
                    args.next();
                }
            }
            b"-s" => {
                signs = true;
                args.next();
            }
            b"-a" | b"-b" | b"-C" | b"-D" | b"-E" | b"-I" | b"-m" | b"-n" | b"-N" | b"-O"
            | b"-P" | b"-R" | b"-r" | b"-S" | b"-t" | b"-V" | b"-w" | b"-Z" | b"-z" => {
                args.next();
            }
            b"-A" | b"-M" | b"-K" | b"-Y" | b"-k" | b"-u" => {
                return not_understood(call, "a task of ssh-keygen that is not described");
            }
            _ if text.starts_with(b"-f") => {
                findings.role(&Role::Write, &Arg::whole(&text[2..]));
                findings.role(&Role::Write, &Arg::whole([&text[2..], b".pub"].concat()));
            }
            _ if text.starts_with(b"-") && text.len() > 1 => {
                // A bundle: letters that only look, and the last one's value behind it.
                let letters = &text[1..];
                let flags = letters
                    .iter()
                    .take_while(|b| b"qvhHcopx".contains(b))
                    .count();
                match &letters[flags..] {
                    b"" => {}
                    b"f" => file = args.next(),
                    b"lf" | b"yf" | b"Lf" | b"Bf" | b"lvf" => {
                        looks = true;
                        args.next();
                    }
                    b"l" | b"y" | b"L" | b"B" | b"lv" => looks = true,
                    [
                        b'a' | b'b' | b'C' | b't' | b'N' | b'P' | b'm' | b'E' | b'O',
                        ..,
                    ] => {
                        if letters.len() == flags + 1 {
                            args.next();
                        }
                    }
                    [b'R', ..] if letters.len() > flags + 1 => {}
                    _ => findings.unclear("a bundle of options of ssh-keygen"),
                }
            }
            _ => operands.push(arg),
        }
    }
    if looks {
        return findings.finish();
    }
    for signed in &operands {
        if signs {
            let directory = directory_part(&findings, &signed.text);
            new_names_in(&mut findings, &directory, "certificates");
        }
    }
    match file {
        Some(file) if !signs => {
            findings.role(&Role::Write, file);
            for suffix in [&b".pub"[..], b".old"] {
                findings.role(&Role::Write, &with_suffix(file, suffix));
            }
        }
        None if !signs => at_home(&mut findings, ".ssh", Depth::Children, Certainty::Certain),
        _ => {}
    }
    findings.finish()
}

/// A keyring or log that an option of `gpg` names; without a separator it lies in its home.
fn written_by_gpg(findings: &mut Findings<'_>, file: &Arg) {
    let file = match file.text.strip_prefix(b"gnupg-ring:") {
        Some(path) => Arg {
            text: path.to_vec(),
            known: file.known,
        },
        None => file.clone(),
    };
    if file.value() == Some(b"-") {
        return;
    }
    findings.role(&Role::Write, &file);
    for suffix in [&b"~"[..], b".lock"] {
        findings.role(&Role::Write, &with_suffix(&file, suffix));
    }
}

/// `gpg -o out -d in`
pub(super) fn gpg(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let mut output = false;
    let mut files: Vec<&Arg> = Vec::new();
    let mut home = false;
    let mut to_output = false;
    let mut several = false;
    let mut args = call.rest().iter();
    while let Some(arg) = args.next() {
        let Some(text) = arg.value() else {
            findings.unclear("an argument of gpg is not known");
            files.push(arg);
            continue;
        };
        match text {
            b"-o" | b"--output" => {
                output = true;
                if let Some(file) = args.next().filter(|file| file.value() != Some(b"-")) {
                    findings.role(&Role::Write, file);
                }
            }
            b"--keyring" | b"--primary-keyring" | b"--secret-keyring" | b"--trustdb-name"
            | b"--attribute-file" | b"--status-file" | b"--logger-file" | b"--log-file" => {
                if let Some(file) = args.next() {
                    written_by_gpg(&mut findings, file);
                }
            }
            b"--multifile" | b"--decrypt-files" | b"--encrypt-files" => several = true,
            _ if text.starts_with(b"--")
                && text
                    .windows(6)
                    .any(|part| part == b"-file=" || part == b"yring=") =>
            {
                let value = text.splitn(2, |b| *b == b'=').nth(1).unwrap_or(b"");
                written_by_gpg(&mut findings, &Arg::whole(value));
            }
            b"--homedir" => {
                home = true;
                if let Some(directory) = args.next() {
                    findings.role(&Role::Tree, directory);
                }
            }
            b"-d"
            | b"--decrypt"
            | b"--verify"
            | b"-k"
            | b"--list-keys"
            | b"-K"
            | b"--list-secret-keys"
            | b"--export"
            | b"--armor-export"
            | b"--import"
            | b"--list-packets"
            | b"--fingerprint"
            | b"--version"
            | b"--show-keys" => {
                to_output = true;
            }
            b"-r"
            | b"--recipient"
            | b"-u"
            | b"--local-user"
            | b"--keyserver"
            | b"--passphrase"
            | b"--passphrase-fd"
            | b"--passphrase-file"
            | b"--cipher-algo"
            | b"--digest-algo"
            | b"--trust-model"
            | b"--pinentry-mode"
            | b"--status-fd"
            | b"--default-key"
            | b"-R"
            | b"--hidden-recipient"
            | b"--compress-algo" => {
                args.next();
            }
            b"--recv-keys" | b"--send-keys" | b"--refresh-keys" | b"--search-keys" => {
                to_output = true;
                findings.irreversible("network", "a key server is asked");
            }
            _ if text.starts_with(b"--output=") => {
                output = true;
                findings.role(&Role::Write, &Arg::whole(&text[9..]));
            }
            _ if text.starts_with(b"--photo")
                || text.starts_with(b"--exec")
                || text.starts_with(b"--options")
                || text.starts_with(b"--log") =>
            {
                findings.unclear("an option runs or writes more");
            }
            _ if text.starts_with(b"-") && text.len() > 1 => {
                if !text.starts_with(b"--") && text.contains(&b'o') {
                    output = true;
                    if let Some(file) = args.next() {
                        findings.role(&Role::Write, file);
                    }
                }
                to_output |= !text.starts_with(b"--") && text.contains(&b'd');
            }
            _ => files.push(arg),
        }
    }
    if !output && (!to_output || several) {
        for file in files {
            for suffix in [&b".gpg"[..], b".asc", b".sig"] {
                findings.role(&Role::Edit, &with_suffix(file, suffix));
                if let Some(plain) = file.value().and_then(|text| text.strip_suffix(suffix)) {
                    findings.role(&Role::Edit, &Arg::whole(plain));
                }
            }
        }
    }
    if !home {
        match (call.place.variable)("GNUPGHOME").filter(|value| !value.is_empty()) {
            Some(directory) => findings.role(&Role::Tree, &Arg::whole(directory)),
            None => at_home(&mut findings, ".gnupg", Depth::Tree, Certainty::Likely),
        }
    }
    findings.finish()
}
