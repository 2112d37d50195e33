//! `nc`, `socat` and programs like them.

use deployx_plugin_sdk::table::{HandlerCall, Outcome};
use deployx_rules_common::words::{all_known, merged};

/// The rule for `nc` and `socat`.
pub(super) fn netcat(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let parsed = call.parsed;
    if parsed.has("-e") || parsed.has("-c") {
        findings.unclear("a program is connected");
    }
    if call.name.ends_with("socat") {
        let harmless = [
            &b"tcp"[..],
            b"udp",
            b"stdio",
            b"-",
            b"ssl",
            b"openssl",
            b"stdin",
            b"stdout",
            b"ip",
            b"sctp",
        ];
        let plain = call.parsed.operand_args().all(|arg| {
            let lower = arg.text.to_ascii_lowercase();
            harmless.iter().any(|known| lower.starts_with(known))
        });
        if !plain || !all_known(call.args) {
            findings.unclear("an address may be a file or a program");
        }
    } else if call
        .rest()
        .iter()
        .any(|arg| arg.text.starts_with(b"-") && arg.text.contains(&b'U'))
    {
        findings.unclear("a socket may be made");
    }
    merged(call.described(), findings.finish())
}
