//! `dd`: operands are `key=value`.

use deployx_plugin_sdk::table::{Arg, HandlerCall, Outcome, Role};

/// `dd if=a of=b`
pub(super) fn dd(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    for arg in call.rest() {
        if let Some(file) = arg.text.strip_prefix(b"of=") {
            findings.destructive();
            let file = Arg {
                text: file.to_vec(),
                known: arg.known,
            };
            findings.role(&Role::Write, &file);
        } else if arg.value().is_none() && !arg.text.contains(&b'=') {
            findings.unclear("an operand of dd is not known");
        }
    }
    findings.finish()
}
