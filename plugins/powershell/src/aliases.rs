//! The aliases that PowerShell brings along.

/// Aliases of both editions on every system.
const EVERYWHERE: [(&str, &str); 91] = [
    ("%", "ForEach-Object"),
    ("?", "Where-Object"),
    ("chdir", "Set-Location"),
    ("clc", "Clear-Content"),
    ("cd", "Set-Location"),
    ("clhy", "Clear-History"),
    ("cli", "Clear-Item"),
    ("clp", "Clear-ItemProperty"),
    ("cls", "Clear-Host"),
    ("clv", "Clear-Variable"),
    ("copy", "Copy-Item"),
    ("cpi", "Copy-Item"),
    ("cvpa", "Convert-Path"),
    ("dbp", "Disable-PSBreakpoint"),
    ("del", "Remove-Item"),
    ("dir", "Get-ChildItem"),
    ("ebp", "Enable-PSBreakpoint"),
    ("echo", "Write-Output"),
    ("epal", "Export-Alias"),
    ("epcsv", "Export-Csv"),
    ("erase", "Remove-Item"),
    ("etsn", "Enter-PSSession"),
    ("exsn", "Exit-PSSession"),
    ("fc", "Format-Custom"),
    ("fhx", "Format-Hex"),
    ("fl", "Format-List"),
    ("foreach", "ForEach-Object"),
    ("ft", "Format-Table"),
    ("fw", "Format-Wide"),
    ("gal", "Get-Alias"),
    ("gbp", "Get-PSBreakpoint"),
    ("gc", "Get-Content"),
    ("gci", "Get-ChildItem"),
    ("gcm", "Get-Command"),
    ("gcs", "Get-PSCallStack"),
    ("gdr", "Get-PSDrive"),
    ("ghy", "Get-History"),
    ("gi", "Get-Item"),
    ("gjb", "Get-Job"),
    ("gl", "Get-Location"),
    ("gm", "Get-Member"),
    ("gmo", "Get-Module"),
    ("gp", "Get-ItemProperty"),
    ("gps", "Get-Process"),
    ("gpv", "Get-ItemPropertyValue"),
    ("group", "Group-Object"),
    ("gsn", "Get-PSSession"),
    ("gsv", "Get-Service"),
    ("gu", "Get-Unique"),
    ("gv", "Get-Variable"),
    ("h", "Get-History"),
    ("history", "Get-History"),
    ("icm", "Invoke-Command"),
    ("iex", "Invoke-Expression"),
    ("ihy", "Invoke-History"),
    ("ii", "Invoke-Item"),
    ("ipal", "Import-Alias"),
    ("ipcsv", "Import-Csv"),
    ("ipmo", "Import-Module"),
    ("irm", "Invoke-RestMethod"),
    ("iwr", "Invoke-WebRequest"),
    ("md", "New-Item"),
    ("measure", "Measure-Object"),
    ("mi", "Move-Item"),
    ("move", "Move-Item"),
    ("mp", "Move-ItemProperty"),
    ("nal", "New-Alias"),
    ("ndr", "New-PSDrive"),
    ("ni", "New-Item"),
    ("nmo", "New-Module"),
    ("nsn", "New-PSSession"),
    ("nv", "New-Variable"),
    ("oh", "Out-Host"),
    ("popd", "Pop-Location"),
    ("pushd", "Push-Location"),
    ("pwd", "Get-Location"),
    ("rd", "Remove-Item"),
    ("rdr", "Remove-PSDrive"),
    ("ren", "Rename-Item"),
    ("ri", "Remove-Item"),
    ("rni", "Rename-Item"),
    ("rp", "Remove-ItemProperty"),
    ("rv", "Remove-Variable"),
    ("sal", "Set-Alias"),
    ("saps", "Start-Process"),
    ("select", "Select-Object"),
    ("set", "Set-Variable"),
    ("si", "Set-Item"),
    ("sl", "Set-Location"),
    ("sp", "Set-ItemProperty"),
    ("sv", "Set-Variable"),
];

/// More of them, everywhere.
const EVERYWHERE_TOO: [(&str, &str); 23] = [
    ("gerr", "Get-Error"),
    ("gin", "Get-ComputerInfo"),
    ("gtz", "Get-TimeZone"),
    ("kill", "Stop-Process"),
    ("rbp", "Remove-PSBreakpoint"),
    ("rcjb", "Receive-Job"),
    ("rjb", "Remove-Job"),
    ("rmo", "Remove-Module"),
    ("rsn", "Remove-PSSession"),
    ("rvpa", "Resolve-Path"),
    ("sajb", "Start-Job"),
    ("sasv", "Start-Service"),
    ("sbp", "Set-PSBreakpoint"),
    ("scb", "Set-Clipboard"),
    ("gcb", "Get-Clipboard"),
    ("shcm", "Show-Command"),
    ("sls", "Select-String"),
    ("spjb", "Stop-Job"),
    ("spps", "Stop-Process"),
    ("start", "Start-Process"),
    ("spsv", "Stop-Service"),
    ("type", "Get-Content"),
    ("where", "Where-Object"),
];

/// Aliases that pwsh leaves to the programs of that name on Unix.
const NOT_ON_UNIX: [(&str, &str); 17] = [
    ("ac", "Add-Content"),
    ("cat", "Get-Content"),
    ("clear", "Clear-Host"),
    ("compare", "Compare-Object"),
    ("cp", "Copy-Item"),
    ("cpp", "Copy-ItemProperty"),
    ("diff", "Compare-Object"),
    ("ls", "Get-ChildItem"),
    ("man", "Get-Help"),
    ("mount", "New-PSDrive"),
    ("mv", "Move-Item"),
    ("ps", "Get-Process"),
    ("rm", "Remove-Item"),
    ("rmdir", "Remove-Item"),
    ("sleep", "Start-Sleep"),
    ("sort", "Sort-Object"),
    ("tee", "Tee-Object"),
];

/// Aliases of Windows PowerShell alone.
const WINDOWS_POWERSHELL: [(&str, &str); 8] = [
    ("asnp", "Add-PSSnapin"),
    ("curl", "Invoke-WebRequest"),
    ("gwmi", "Get-WmiObject"),
    ("iwmi", "Invoke-WmiMethod"),
    ("rwmi", "Remove-WmiObject"),
    ("sc", "Set-Content"),
    ("swmi", "Set-WmiInstance"),
    ("wget", "Invoke-WebRequest"),
];

/// Which aliases there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edition {
    /// Windows PowerShell 5.1.
    Desktop,
    /// PowerShell 7 on Windows.
    CoreWindows,
    /// PowerShell 7 on Unix.
    CoreUnix,
}

/// The command behind an alias.
pub(crate) fn resolve(edition: Edition, name: &str) -> Option<&'static str> {
    let find = |list: &[(&str, &'static str)]| {
        list.iter()
            .find(|(alias, _)| alias.eq_ignore_ascii_case(name))
            .map(|(_, command)| *command)
    };
    let on_windows = edition != Edition::CoreUnix;
    // `mkdir` is a function that calls `New-Item`, on Windows only.
    if on_windows && name.eq_ignore_ascii_case("mkdir") {
        return Some("New-Item");
    }
    find(&EVERYWHERE)
        .or_else(|| find(&EVERYWHERE_TOO))
        .or_else(|| on_windows.then(|| find(&NOT_ON_UNIX)).flatten())
        .or_else(|| {
            (edition == Edition::Desktop)
                .then(|| find(&WINDOWS_POWERSHELL))
                .flatten()
        })
}
