//! Single rules of behaviour.

use deployx_plugin_sdk::testing::MemoryView;
use deployx_plugin_sdk::{Depth, Inference, PathInference, Request, Unclear};
use deployx_rules_powershell::PowerShellRules;

fn windows(command: &str) -> Inference {
    let request = Request {
        shell: "powershell".into(),
        command: command.as_bytes().to_vec(),
        cwd: br"C:\srv".to_vec(),
        home: Some(br"C:\Users\ann".to_vec()),
        env: vec![("TEMP".into(), br"C:\Temp".to_vec())],
        ..Request::default()
    };
    let view = MemoryView::new(&[
        r"C:\srv\a.txt",
        r"C:\srv\b.txt",
        r"C:\srv\d\c.txt",
        r"C:\Temp\t",
        r"C:\Users\ann\n",
    ]);
    PowerShellRules::new().infer(&request, &view)
}

fn unix(command: &str) -> Inference {
    let request = Request {
        shell: "pwsh".into(),
        command: command.as_bytes().to_vec(),
        cwd: b"/srv".to_vec(),
        home: Some(b"/home/ann".to_vec()),
        ..Request::default()
    };
    let view = MemoryView::new(&["/srv/a.txt", "/srv/d/c.txt", "/home/ann/n"]);
    PowerShellRules::new().infer(&request, &view)
}

fn has(answer: &Inference, path: &str, depth: Depth) -> bool {
    answer
        .paths
        .iter()
        .any(|used| used.path == path.as_bytes() && used.depth == depth)
}

#[test]
fn a_nul_byte_stands_in_no_path() {
    for line in [
        "Remove-Item d\0x",
        "Remove-Item \"d`0x\"",
        "Set-Location \"d`0x\"; Remove-Item c",
        "New-Item -ItemType Directory \"`0\"",
        "'x' > \"d`0\"",
        "[IO.File]::Delete(\"d`0\")",
        "mkdir (Join-Path d \"`0\")",
    ] {
        let answer = windows(line);
        let nul = answer.paths.iter().any(|used| used.path.contains(&0));
        assert!(!nul && !answer.unclear.is_empty(), "{line:?} {answer:?}");
    }
}

#[test]
fn an_operand_on_another_drive_is_not_lost() {
    let answer = windows("Copy-Item D:x C:\\srv\\d");
    let covered = has(&answer, r"C:\srv\d\x", Depth::Tree);
    assert!(covered || !answer.unclear.is_empty(), "{answer:?}");
    let answer = windows("git mv D:x C:\\srv\\d");
    assert!(!answer.unclear.is_empty(), "{answer:?}");
}

#[test]
fn paths_follow_the_system_of_the_shell() {
    assert!(has(
        &unix(r"Remove-Item d\c.txt"),
        "/srv/d/c.txt",
        Depth::Tree
    ));
    assert!(has(
        &unix("Set-Content ~/x.txt 1"),
        "/home/ann/x.txt",
        Depth::Tree
    ));
    assert!(has(
        &windows("Remove-Item d/c.txt"),
        r"C:\srv\d\c.txt",
        Depth::Tree
    ));
    assert!(has(
        &windows("Set-Content a.txt 1"),
        r"C:\srv\a.txt",
        Depth::Entry
    ));
}

#[test]
fn on_unix_some_names_are_programs() {
    let answer = unix("rm -rf d");
    assert!(answer.unclear.is_empty(), "{:?}", answer.unclear);
    assert!(has(&answer, "/srv/d", Depth::Tree));
    assert!(unix("cp a.txt x; mkdir -p e/f; ls").unclear.is_empty());
    // `-Recurse` is no option of the program.
    assert!(!unix("rm -Recurse d").unclear.is_empty());
}

#[test]
fn removing_lists_the_directory_above() {
    let answer = windows("Remove-Item d -Recurse");
    assert!(has(&answer, r"C:\srv", Depth::Entry));
    assert!(has(&answer, r"C:\srv\d", Depth::Tree));
    assert!(answer.destructive);
}

#[test]
fn what_is_not_known_is_said() {
    for line in [
        "Remove-Item $x",
        "Remove-Item \"$x\\a\"",
        "& $x",
        ". ./x.ps1",
        "iex $x",
        "foo bar",
        ".\\x.exe",
        "Remove-Item @x",
        "$x.Delete()",
        "[A.B]::C()",
        "Import-Module .\\m.psm1",
        "Remove-Item (Get-Thing)",
        "Get-Thing | Remove-Item",
        "> \"$x\"",
        "& { foo }",
        "$p = @{ Force = $true }; $p.Add('Path', 'a.txt'); Remove-Item @p",
        "$p = @{}; $q = $p; $q.Path = 'a.txt'; Remove-Item @p",
        "$x = 'a.txt'; function f { $global:x = 'b.txt' }; f; Remove-Item $x",
        "$x = 'a.txt'; gci -OutVariable x; Remove-Item $x",
        "$x = 'a.txt'; [Foo]::Bar([ref]$x); Remove-Item $x",
        "$ExecutionContext.InvokeCommand.InvokeScript('rm a')",
        "[regex]::Replace('a', 'b', { foo })",
        "Start-Transcript",
        "$PSDefaultParameterValues['Remove-Item:Path'] = 'a'",
        "if ($a) { foo }",
        "gci | % { foo $_ }",
        "try { foo } catch { }",
        "$y = foo",
        "\"$(foo)\"",
        "Remove-Item temp:\\x",
        "Start-Job { foo }",
        "wsl ls",
        "bash -c ls",
        "cmd /c dir",
        "Remove-Item \u{201c}a b\u{201d}",
        "Register-EngineEvent x -Action { foo }",
        "Remove-Item a -NoSuchParameter b",
        "powershell -EncodedCommand AAAA",
        "pwsh x.ps1",
        "cd $x; Remove-Item a",
        "[scriptblock]::Create('rm a').Invoke()",
        "git clean -fdx $x",
        "function Remove-Item { foo }; rm a",
        "Set-Alias ls foo; ls",
        "switch ($x) { 1 { foo } }",
        "trap { foo }",
        "class A { }",
        "Invoke-Item x.bat",
        "(Get-Process).Foo()",
        "gci | foo",
        "1 | & foo",
        "Remove-Item $x -Recurse -WhatIf:$false",
        "mkdir $(foo)",
        "a=b",
    ] {
        assert!(!windows(line).unclear.is_empty(), "{line}");
    }
}

#[test]
fn what_goes_without_saying_is_listed() {
    assert!(has(
        &windows(r"Copy-Item d\c.txt"),
        r"C:\srv\c.txt",
        Depth::Tree
    ));
    assert!(has(
        &windows("Expand-Archive x.zip"),
        r"C:\srv\x",
        Depth::Tree
    ));
    let piped = "function Clean { param([Parameter(ValueFromPipeline)]$p) process { rm $p } }; gi a.txt | Clean";
    assert!(has(&windows(piped), r"C:\srv\a.txt", Depth::Tree));
    let switch = "switch (1) { { rm a.txt } { } (rm b.txt) { } }";
    assert!(has(&windows(switch), r"C:\srv\a.txt", Depth::Tree));
    assert!(has(&windows(switch), r"C:\srv\b.txt", Depth::Tree));
}

#[test]
fn what_is_known_goes_without_saying_more() {
    for line in [
        "Get-ChildItem",
        "$x = 1",
        "Remove-Item a.txt -WhatIf",
        "Get-Content a.txt | Select-Object -First 1",
        "if (Test-Path a.txt) { 'yes' } else { 'no' }",
        "Write-Host \"$x $(1 + 2)\"",
        "'a,b'.Split(',') | ForEach-Object { $_.Trim() }",
        "$a = @{ x = 1; y = 'z' }; $a.x",
        "gci *.txt | Measure-Object Length -Sum",
        "[datetime]::Now.ToString('yyyy')",
        "Get-Process | Where-Object CPU -gt 10 | Sort-Object CPU | Format-Table Name, CPU",
        "function f { param([switch]$a, $b = 2) $b }; f -a",
        "do { $i++ } while ($i -lt 3)",
        "Set-Content a.txt $value",
        "Get-Date > $null",
        "git status",
        "Remove-Item a.txt -ErrorAction SilentlyContinue -Verbose -Confirm:$false",
    ] {
        let answer = windows(line);
        assert!(answer.unclear.is_empty(), "{line}: {:?}", answer.unclear);
    }
}

#[test]
fn later_lines_are_told_what_changed() {
    let answer = windows("$env:X = 1; $y = 2; function f { }; Set-Alias g Get-Item");
    assert_eq!(answer.session.assigned, ["X", "y"]);
    assert_eq!(answer.session.redefined, ["f", "g"]);
    assert!(windows(". .\\x.ps1").session.unknown);
    let mut request = Request {
        shell: "pwsh".into(),
        command: b"Remove-Item a".to_vec(),
        cwd: br"C:\srv".to_vec(),
        ..Request::default()
    };
    request.session.redefined.push("remove-item".into());
    let answer = PowerShellRules::new().infer(&request, &MemoryView::new(&[]));
    assert!(!answer.unclear.is_empty());
}

#[test]
fn a_directory_that_is_missing_is_not_entered() {
    assert_eq!(windows("cd nowhere; Remove-Item *").cwd_after, None);
    assert_eq!(windows("cd d").cwd_after.unwrap(), br"C:\srv\d");
    assert_eq!(windows("if ($x) { cd d }").cwd_after, None);
    assert_eq!(windows("& { cd d }").cwd_after.unwrap(), br"C:\srv\d");
    assert_eq!(windows("git pull && cd d").cwd_after, None);
}

#[test]
fn lines_of_other_shells_are_handed_on() {
    let nested = |request: &Request, _: &dyn deployx_plugin_sdk::FileView| {
        (request.shell == "cmd").then(|| Inference {
            unclear: vec![Unclear {
                text: request.command.clone(),
                cwd: None,
                reason: "handed on".into(),
            }],
            ..Inference::default()
        })
    };
    let rules = PowerShellRules::new().with_nested(std::sync::Arc::new(nested));
    let request = Request {
        shell: "powershell".into(),
        command: br"cd d; cmd /c del a.txt".to_vec(),
        cwd: br"C:\srv".to_vec(),
        ..Request::default()
    };
    let answer = rules.infer(&request, &MemoryView::new(&[r"C:\srv\d\a.txt"]));
    assert_eq!(answer.unclear.len(), 1);
    assert_eq!(answer.unclear[0].text, b"del a.txt");
    assert_eq!(
        answer.unclear[0].cwd.as_deref(),
        Some(br"C:\srv\d".as_slice())
    );
}

#[test]
fn rules_of_the_user_win() {
    let mut rules = PowerShellRules::new();
    let toml = "[Publish-App]\noptions = [\"-Target=tree@0\", \"-Force\"]\n";
    rules.add_rules("rules.toml", toml).unwrap();
    assert!(
        rules
            .add_rules("rules.toml", "[x]\noptoins = []\n")
            .is_err()
    );
    let request = Request {
        shell: "pwsh".into(),
        command: b"publish-app site -Force".to_vec(),
        cwd: br"C:\srv".to_vec(),
        ..Request::default()
    };
    let answer = rules.infer(&request, &MemoryView::new(&[r"C:\srv\site\x"]));
    assert!(answer.unclear.is_empty(), "{:?}", answer.unclear);
    assert!(has(&answer, r"C:\srv\site", Depth::Tree));
    assert!(
        answer
            .paths
            .iter()
            .any(|used| used.rule.contains("rules.toml"))
    );
}

#[test]
fn a_link_that_the_line_makes_is_not_followed_in_silence() {
    for line in ["ln -s d e; ri e/c.txt", "ln -s d e; rm e/c.txt"] {
        assert!(!unix(line).unclear.is_empty(), "{line}");
    }
    assert!(unix("ln -s d e; rm e").unclear.is_empty());
}

#[test]
fn what_a_filter_lets_through_is_one_of_many() {
    let line = "$n = (gci *.txt | sort Length)[0].Name; ni \"$n.x\"";
    assert!(!windows(line).unclear.is_empty());
    let line = "gci *.txt | sort Length | select -First 1 | ri";
    let answer = windows(line);
    assert!(answer.unclear.is_empty());
    assert!(has(&answer, r"C:\srv\a.txt", Depth::Tree));
    assert!(has(&answer, r"C:\srv\b.txt", Depth::Tree));
}
