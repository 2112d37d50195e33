//! Any bytes as a line of cmd.
#![no_main]

use std::sync::LazyLock;

use deployx_rules_cmd::CmdRules;

static RULES: LazyLock<CmdRules> = LazyLock::new(CmdRules::new);

libfuzzer_sys::fuzz_target!(|line: &[u8]| {
    deployx_fuzz::ask(&*RULES, &deployx_fuzz::WINDOWS_CMD, line);
});
