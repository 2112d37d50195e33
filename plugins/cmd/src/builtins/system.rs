//! Programs of the system whose arguments no table describes.

use deployx_plugin_sdk::Depth;

use super::Call;
use super::call::here;
use crate::cell::bytes;
use crate::words::Word;

/// The words of a call in lower case; empty where one is not known.
fn lower(words: &[Word]) -> Vec<Vec<u8>> {
    words
        .iter()
        .map(|word| word.text().unwrap_or_default().to_ascii_lowercase())
        .collect()
}

/// `sc [\\server] command service …`
pub(crate) fn sc(call: &mut Call<'_, '_>) {
    const LOOKS: [&[u8]; 12] = [
        b"query",
        b"queryex",
        b"qc",
        b"qdescription",
        b"qfailure",
        b"qfailureflag",
        b"qprivs",
        b"qsidtype",
        b"qtriggerinfo",
        b"enumdepend",
        b"getdisplayname",
        b"getkeyname",
    ];
    let words = lower(&call.words);
    let verb = words.iter().find(|word| !word.starts_with(br"\\"));
    let looks = verb.is_none_or(|verb| LOOKS.contains(&verb.as_slice()) || verb == b"sdshow");
    if !looks {
        call.evaluator
            .effect("service", "services start, stop or change");
    }
}

/// `netsh context command …`
pub(crate) fn netsh(call: &mut Call<'_, '_>) {
    let words = lower(&call.words);
    let has = |name: &[u8]| words.iter().any(|word| word == name);
    if words.is_empty() || has(b"-f") || has(b"exec") || has(b"/f") {
        return call.unclear("it runs commands from its input or from a file");
    }
    if has(b"show") || has(b"dump") {
        return;
    }
    if has(b"trace") || has(b"import") || has(b"wlan") && has(b"export") {
        call.unclear("files are named in ways of their own");
    } else if let Some(at) = words.iter().position(|word| word == b"export") {
        return match call.words.get(at + 1).cloned() {
            Some(file) => call.write_word(&file, "settings saved to"),
            None => call.unclear("no file is named"),
        };
    }
    call.evaluator
        .effect("network", "settings of the network change");
}

/// `wmic [/switches] alias … verb`
pub(crate) fn wmic(call: &mut Call<'_, '_>) {
    for switch in ["output", "append", "record"] {
        if let Some(file) = call.value(switch) {
            let stream = file.text().is_some_and(|text| {
                matches!(
                    text.to_ascii_lowercase().as_slice(),
                    b"stdout" | b"clipboard"
                )
            });
            if !stream {
                call.write_word(&file, "output");
            }
        }
    }
    let words = lower(&call.words);
    let has = |name: &[u8]| words.iter().any(|word| word == name);
    if has(b"call") {
        call.unclear("a method of the system is called");
    }
    if has(b"call") || has(b"delete") || has(b"create") || has(b"set") {
        let kind = if has(b"process") {
            "process"
        } else if has(b"service") {
            "service"
        } else if has(b"product") {
            "packages"
        } else {
            "kernel"
        };
        call.evaluator.effect(kind, "objects of the system change");
        if has(b"datafile") || has(b"fsdir") {
            call.unclear("files are chosen by a query");
        }
    } else if words.is_empty() {
        call.unclear("it reads commands from its input");
    }
}

/// `msiexec /i package /l*v log`
pub(crate) fn msiexec(call: &mut Call<'_, '_>) {
    let words = lower(&call.words);
    for (at, word) in words.iter().enumerate() {
        let is_log = word == b"/log"
            || matches!(word.as_slice(), [b'/' | b'-', b'l', rest @ ..]
                if rest.iter().all(|b| b"iwearucmopvx+!*".contains(b)));
        if is_log && let Some(log) = call.words.get(at + 1).cloned() {
            call.write_word(&log, "log");
        }
    }
    call.unclear("an installer runs");
    call.evaluator
        .effect("packages", "an installer changes files and the registry");
}

/// `format D: …`
pub(crate) fn format(call: &mut Call<'_, '_>) {
    call.evaluator.out.destructive = true;
    call.evaluator.effect("device", "a volume is formatted");
    let Some(volume) = call.operands.first().and_then(Word::text) else {
        return call.unclear("the volume is not known");
    };
    match volume.as_slice() {
        [letter, b':'] if letter.is_ascii_alphabetic() => {
            let root = [letter.to_ascii_uppercase(), b':', b'\\'];
            call.evaluator.touch(&root, Depth::Tree, true, "formatted");
        }
        _ => call.unclear("a volume without a letter"),
    }
}

/// `makecab source [destination]`
pub(crate) fn makecab(call: &mut Call<'_, '_>) {
    if call.has("f") {
        return call.unclear("a file of directives says what is written");
    }
    if call.has("l") {
        call.unclear("a directory for the output");
    }
    match call.operands.get(1).cloned() {
        Some(destination) => call.write_word(&destination, "cabinet"),
        None => {
            let targets = call.targets(&here());
            for (path, _) in &targets.known {
                call.evaluator.make_in(path, "cabinet");
            }
        }
    }
}

/// `subst X: path`, `subst X: /d`
pub(crate) fn subst(call: &mut Call<'_, '_>) {
    let Some(drive) = call.operands.first() else {
        return;
    };
    match drive.text().as_deref() {
        Some([letter, b':', ..]) => {
            let letter = letter.to_ascii_uppercase();
            call.evaluator.remapped.push(letter);
        }
        _ => call.unclear("a drive that is not known gets another meaning"),
    }
    call.evaluator
        .effect("device", "a drive stands for another place");
}

/// `doskey name=text`: a name that is typed later means something else.
pub(crate) fn doskey(call: &mut Call<'_, '_>) {
    let from_file = call.value("macrofile").is_some();
    let session = &mut call.evaluator.out.session;
    let text = bytes(&call.tail);
    let Some(equals) = text.iter().position(|b| *b == b'=') else {
        session.unknown |= from_file;
        return;
    };
    let name = text[..equals].split(u8::is_ascii_whitespace).next_back();
    let name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
    session.redefined.push(name);
}
