//! `zip`, `unzip` and `7z`.

use deployx_plugin_sdk::table::{Arg, HandlerCall, Known, Outcome, Role};

use crate::words::{directory_part, last_part, new_names_in, not_understood, tree, with_suffix};

/// `zip -r archive files`
pub(crate) fn zip(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let mut operands: Vec<&Arg> = Vec::new();
    let (mut moves, mut output, mut list, mut ended) = (false, None, false, false);
    let (mut listed, mut patterns) = (false, false);
    let mut args = call.rest().iter();
    while let Some(arg) = args.next() {
        if ended
            || arg.known != Known::Whole && !arg.text.is_empty()
            || !arg.text.starts_with(b"-")
            || arg.text == b"-"
        {
            if arg.text.is_empty() && arg.known != Known::Whole {
                findings.unclear("an argument of zip is not known");
            }
            if !list || operands.is_empty() {
                operands.push(arg);
            }
            continue;
        }
        let text = arg.text.as_slice();
        list = false;
        match text {
            b"--" => ended = true,
            b"-O" | b"--out" | b"--output-file" => output = args.next(),
            b"-b"
            | b"--temp-path"
            | b"-n"
            | b"--suffixes"
            | b"-t"
            | b"-tt"
            | b"--from-date"
            | b"--before-date"
            | b"-P"
            | b"--password"
            | b"-Z"
            | b"--compression-method"
            | b"-ds"
            | b"--dot-size" => {
                args.next();
            }
            b"-@" | b"--names-stdin" => listed = true,
            b"-R" | b"--recurse-patterns" => patterns = true,
            b"-ws" | b"--wild-stop-dirs" | b"-sp" | b"--split-pause" => {}
            b"-s" | b"--split-size" => {
                findings.unclear("an archive of several parts is written");
                args.next();
            }
            b"-lf" | b"--logfile-path" => {
                if let Some(file) = args.next() {
                    findings.role(&Role::Write, file);
                }
            }
            b"-x" | b"--exclude" | b"-i" | b"--include" => list = true,
            b"-TT" | b"--unzip-command" => {
                return not_understood(call, "a program tests the archive");
            }
            b"-m" | b"--move" => moves = true,
            b"-sf" | b"--show-files" | b"-h" | b"--help" | b"-v" | b"--version" | b"-L"
                if call.rest().len() == 1 =>
            {
                return call.findings().finish();
            }
            _ if text.starts_with(b"--") => {
                let prefixes = [
                    &b"--ou"[..],
                    b"--logf",
                    b"--te",
                    b"--sp",
                    b"--mov",
                    b"--unzip",
                ];
                let writes = prefixes.iter().any(|prefix| text.starts_with(prefix));
                if writes || text.contains(&b'=') {
                    findings.unclear("an option of zip is not described");
                    let value = text.splitn(2, |b| *b == b'=').nth(1).unwrap_or(b"");
                    if !value.is_empty() {
                        findings.role(&Role::Tree, &Arg::whole(value));
                    }
                }
            }
            _ => {
                let letters = &text[1..];
                moves |= letters.contains(&b'm');
                listed |= letters.contains(&b'@');
                patterns |= letters.contains(&b'R');
                if letters.iter().any(|b| b"OT".contains(b)) && letters.ends_with(b"O") {
                    output = args.next();
                    continue;
                }
                match letters.last() {
                    Some(b'b' | b'n' | b't' | b'P' | b'Z') => {
                        args.next();
                    }
                    Some(b'x' | b'i') => list = true,
                    _ => {}
                }
            }
        }
    }
    let Some((archive, files)) = operands.split_first() else {
        return findings.finish();
    };
    let archive = output.unwrap_or(archive);
    if archive.value() != Some(b"-") {
        findings.role(&Role::Write, archive);
        if !last_part(&findings, &archive.text).contains(&b'.') {
            findings.role(&Role::Write, &with_suffix(archive, b".zip"));
        }
    }
    if moves {
        findings.destructive();
        if listed {
            findings.unclear("the files that are removed are named in its input");
        }
        let wild = |arg: &&Arg| arg.text.iter().any(|b| b"*?[".contains(b));
        if patterns || files.iter().any(wild) {
            tree(&mut findings, b".", "files that are moved into the archive");
        }
        files
            .iter()
            .for_each(|file| findings.role(&Role::Remove, file));
    }
    findings.finish()
}

/// `unzip archive members -d directory`
pub(crate) fn unzip(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let mut members: Vec<&Arg> = Vec::new();
    let (mut archive, mut directory, mut excluded) = (None, None, false);
    let mut renames = false;
    let mut args = call.rest().iter();
    while let Some(arg) = args.next() {
        let text = arg.text.as_slice();
        if !text.starts_with(b"-") || text == b"-" {
            if arg.known != Known::Whole && text.is_empty() {
                findings.unclear("an argument of unzip is not known");
            }
            match archive {
                None => archive = Some(arg),
                Some(_) if !excluded => members.push(arg),
                Some(_) => {}
            }
            continue;
        }
        match text {
            b"-d" => directory = args.next().cloned(),
            b"-x" => excluded = true,
            b"-P" | b"-I" | b"-O" => {
                args.next();
            }
            _ if text.starts_with(b"-d") => {
                directory = Some(Arg {
                    text: text[2..].to_vec(),
                    known: arg.known,
                });
            }
            _ => {
                let looks = text.iter().any(|letter| b"lptvzZhc".contains(letter));
                if looks {
                    return findings.finish();
                }
                if text.contains(&b':') {
                    findings.unclear("members may lie above the directory");
                }
                // Other names than those of the archive: no directories, lower case, backups.
                renames |= text.iter().any(|letter| b"jLBCVW".contains(letter));
                if text.last() == Some(&b'd') {
                    directory = args.next().cloned();
                }
            }
        }
    }
    let wild = |member: &&Arg| {
        member.known != Known::Whole || member.text.iter().any(|b| b"*?[".contains(b))
    };
    let base = directory.unwrap_or_else(|| Arg::whole("."));
    if members.is_empty() || renames || members.iter().any(wild) || base.known != Known::Whole {
        if base.known == Known::Whole {
            tree(&mut findings, &base.text, "members of the archive");
        } else {
            findings.role(&Role::Tree, &base);
        }
    } else {
        for member in members {
            let path = [base.text.as_slice(), b"/", &member.text].concat();
            tree(&mut findings, &path, "a member of the archive");
        }
    }
    findings.finish()
}

/// `7z a archive files`, `7z x archive -odirectory`
pub(crate) fn seven_zip(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let args = call.rest();
    if args.iter().any(|arg| arg.known != Known::Whole) {
        return not_understood(call, "an argument of 7z is not known");
    }
    let (switches, operands): (Vec<&Arg>, Vec<&Arg>) =
        args.iter().partition(|arg| arg.text.starts_with(b"-"));
    let Some((command, operands)) = operands.split_first() else {
        return findings.finish();
    };
    let starts = |beginning: &[u8]| switches.iter().find(|arg| arg.text.starts_with(beginning));
    let archive = operands.first();
    match command.text.as_slice() {
        b"l" | b"t" | b"h" | b"i" | b"b" => {}
        b"x" | b"e" => {
            if starts(b"-so").is_none() {
                let directory = starts(b"-o").map_or(&b"."[..], |arg| &arg.text[2..]);
                let directory = match directory.iter().position(|b| *b == b'*') {
                    Some(star) => {
                        let end = directory[..star].iter().rposition(|b| *b == b'/');
                        end.map_or(&b"."[..], |end| &directory[..=end])
                    }
                    None => directory,
                };
                tree(&mut findings, directory, "members of the archive");
                if starts(b"-spf").is_some() {
                    findings.unclear("members may have absolute names");
                }
            }
        }
        b"a" | b"u" | b"d" | b"rn" => {
            if let Some(archive) = archive {
                findings.role(&Role::Write, archive);
                findings.role(&Role::Write, &with_suffix(archive, b".7z"));
                findings.role(&Role::Write, &with_suffix(archive, b".tmp"));
                if let Some(kind) = starts(b"-t") {
                    let ending = [b".", &kind.text[2..]].concat();
                    findings.role(&Role::Write, &with_suffix(archive, &ending));
                }
                if starts(b"-u").is_some_and(|arg| arg.text.contains(&b'!')) {
                    findings.unclear("another archive is named by an option");
                }
                if starts(b"-sfx").is_some() || starts(b"-t").is_some() {
                    let directory = directory_part(&findings, &archive.text);
                    new_names_in(&mut findings, &directory, "the archive with an ending");
                }
                if starts(b"-v").is_some() || starts(b"-w").is_some() || starts(b"-u").is_some() {
                    let directory = directory_part(&findings, &archive.text);
                    new_names_in(&mut findings, &directory, "parts of the archive");
                }
            }
            if starts(b"-sdel").is_some() {
                findings.destructive();
                let wild = |arg: &&&Arg| {
                    arg.text.starts_with(b"@") || arg.text.iter().any(|b| b"*?".contains(b))
                };
                if starts(b"-r").is_some()
                    || starts(b"-i").is_some()
                    || operands.iter().skip(1).any(|arg| wild(&arg))
                {
                    findings.unclear("the files that are removed are not named");
                    tree(&mut findings, b".", "files that are moved into the archive");
                }
                operands
                    .iter()
                    .skip(1)
                    .for_each(|file| findings.role(&Role::Remove, file));
            }
        }
        _ => return not_understood(call, "an unknown command of 7z"),
    }
    findings.finish()
}
