//! Any bytes as a line of bash.
#![no_main]

use std::sync::LazyLock;

use deployx_rules_bash::BashRules;

static RULES: LazyLock<BashRules> = LazyLock::new(BashRules::new);

libfuzzer_sys::fuzz_target!(|line: &[u8]| {
    deployx_fuzz::ask(&*RULES, &deployx_fuzz::UNIX, line);
});
