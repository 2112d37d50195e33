//! `docker run` and `docker cp`: what of the host a container may change.

use deployx_plugin_sdk::table::{Arg, Findings, HandlerCall, Known, Outcome, Role};

use crate::words::merged;

/// `docker run -v /host:/container image`
pub(crate) fn run(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let mut args = call.rest().iter();
    while let Some(arg) = args.next() {
        let text = arg.text.as_slice();
        match text {
            b"-v" | b"--volume" => {
                if let Some(volume) = args.next() {
                    bind(&mut findings, volume);
                }
            }
            b"--mount" => {
                if let Some(mount) = args.next() {
                    mounted(&mut findings, mount);
                }
            }
            b"--cidfile" | b"--pidfile" | b"--pod-id-file" | b"--conmon-pidfile" => {
                if let Some(file) = args.next() {
                    findings.role(&Role::Write, file);
                }
            }
            b"--volumes-from" => findings.unclear("the volumes of another container are not known"),
            b"--privileged" => findings.unclear("the container may change the host"),
            _ if arg.known != Known::Whole && (text.is_empty() || text.starts_with(b"-")) => {
                findings.unclear("an option of the container is not known");
            }
            _ if volume_in_bundle(text).is_some() => {
                let value = volume_in_bundle(text).unwrap_or_default();
                if value.is_empty() {
                    if let Some(volume) = args.next() {
                        bind(&mut findings, volume);
                    }
                } else {
                    let volume = Arg {
                        text: value.to_vec(),
                        known: arg.known,
                    };
                    bind(&mut findings, &volume);
                }
            }
            _ => {
                if text.starts_with(b"--volumes-from=") || text.starts_with(b"--privileged=") {
                    findings.unclear("an option of the container may change the host");
                }
                for prefix in [
                    &b"--cidfile="[..],
                    b"--pidfile=",
                    b"--conmon-pidfile=",
                    b"--pod-id-file=",
                ] {
                    if let Some(file) = text.strip_prefix(prefix) {
                        let file = Arg {
                            text: file.to_vec(),
                            known: arg.known,
                        };
                        findings.role(&Role::Write, &file);
                    }
                }
                for (prefix, is_volume) in [(&b"--volume="[..], true), (b"--mount=", false)] {
                    if let Some(value) = text.strip_prefix(prefix) {
                        let value = Arg {
                            text: value.to_vec(),
                            known: arg.known,
                        };
                        if is_volume {
                            bind(&mut findings, &value);
                        } else {
                            mounted(&mut findings, &value);
                        }
                    }
                }
            }
        }
    }
    merged(call.described(), findings.finish())
}

/// What stands behind the `v` of a bundle of options (`-itv`, `-v/a:/b`).
fn volume_in_bundle(text: &[u8]) -> Option<&[u8]> {
    let letters = text
        .strip_prefix(b"-")
        .filter(|rest| !rest.starts_with(b"-"))?;
    let at = letters.iter().take_while(|b| b"ditPq".contains(b)).count();
    letters[at..]
        .strip_prefix(b"v")
        .map(|value| value.strip_prefix(b"=").unwrap_or(value))
}

/// `HOST:CONTAINER[:ro]`; a name without a separator is a volume of the engine.
fn bind(findings: &mut Findings<'_>, volume: &Arg) {
    let text = volume.text.as_slice();
    // `C:\x:/y`: the colon of a drive does not count.
    let drive = usize::from(text.get(1) == Some(&b':') && text.get(2) == Some(&b'\\')) * 2;
    let end = text[drive..]
        .iter()
        .position(|b| *b == b':')
        .map(|at| at + drive);
    let host = &text[..end.unwrap_or(text.len())];
    let is_path =
        host.starts_with(b".") || host.starts_with(b"~") || host.contains(&b'/') || drive > 0;
    let read_only = text.ends_with(b":ro")
        || text
            .windows(4)
            .any(|part| part == b":ro," || part == b",ro,");
    if volume.known != Known::Whole && end.is_none() {
        findings.role(&Role::Tree, volume);
    } else if is_path && end.is_some() && !read_only {
        findings.role(&Role::Tree, &Arg::whole(host));
    }
}

/// `type=bind,source=/host,target=/container`
fn mounted(findings: &mut Findings<'_>, mount: &Arg) {
    let parts: Vec<&[u8]> = mount.text.split(|b| *b == b',').collect();
    if mount.known != Known::Whole {
        findings.unclear("a mount is not known");
        return;
    }
    if parts
        .iter()
        .any(|part| matches!(*part, b"readonly" | b"ro" | b"type=volume" | b"type=tmpfs"))
    {
        return;
    }
    for part in parts {
        let source = part
            .strip_prefix(b"source=")
            .or_else(|| part.strip_prefix(b"src="));
        if let Some(source) = source {
            findings.role(&Role::Tree, &Arg::whole(source));
        }
    }
}

/// `docker cp container:/a b`
pub(crate) fn copy(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let operands: Vec<&Arg> = call.parsed.operand_args().collect();
    let mut outcome = call.described();
    outcome.paths.clear();
    if let [from, to, ..] = operands.as_slice() {
        let inside = to.text.contains(&b':') && !to.text.contains(&b'\\');
        if !inside && to.value() != Some(b"-") {
            let name = from
                .text
                .splitn(2, |b| *b == b':')
                .nth(1)
                .unwrap_or(&from.text);
            let source = Arg {
                text: name.to_vec(),
                known: from.known,
            };
            findings.place_in(to, &[&source], false, false);
        }
    }
    merged(outcome, findings.finish())
}
