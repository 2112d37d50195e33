//! Any bytes as a line of PowerShell.
#![no_main]

use std::sync::LazyLock;

use deployx_rules_powershell::PowerShellRules;

static RULES: LazyLock<PowerShellRules> = LazyLock::new(PowerShellRules::new);

libfuzzer_sys::fuzz_target!(|line: &[u8]| {
    deployx_fuzz::ask(&*RULES, &deployx_fuzz::WINDOWS_POWERSHELL, line);
});
