//! The rule sets that are linked in.

use std::sync::{Arc, LazyLock};

use deployx_plugin_sdk::{FileView, Inference, PathInference, Request};
use deployx_rules_bash::BashRules;
use deployx_rules_cmd::CmdRules;
use deployx_rules_powershell::PowerShellRules;

use super::{Origin, Registry};

/// A registry with the rule sets for bash, cmd and PowerShell.
///
/// Lines of one of these shells within a line of another (`cmd /c`, `powershell -Command`) are read
/// by the rules of that shell, one level deep.
pub fn registry() -> Registry {
    // Made when a line within a line is first met: most lines have none.
    let inner: LazyLock<[Box<dyn PathInference>; 3]> = LazyLock::new(|| {
        [
            Box::new(BashRules::new()),
            Box::new(CmdRules::new()),
            Box::new(PowerShellRules::new()),
        ]
    });
    let nested = move |request: &Request, view: &dyn FileView| -> Option<Inference> {
        inner
            .iter()
            .find(|rules| rules.shells().contains(&request.shell.as_str()))
            .map(|rules| rules.infer(request, view))
    };
    let nested = Arc::new(nested);
    let mut registry = Registry::default();
    let in_powershell = PowerShellRules::new().with_nested(nested.clone());
    registry.register(Box::new(in_powershell), Origin::BuiltIn);
    let in_cmd = CmdRules::new().with_nested(nested);
    registry.register(Box::new(in_cmd), Origin::BuiltIn);
    registry.register(Box::new(BashRules::new()), Origin::BuiltIn);
    registry
}

#[cfg(test)]
mod tests {
    use super::*;
    use deployx_plugin_sdk::testing::MemoryView;

    #[test]
    fn every_shell_with_rules_has_one_set_that_answers() {
        let reports = registry().reports();
        let names: Vec<&str> = reports.iter().map(|rules| rules.name.as_str()).collect();
        assert_eq!(names, ["bash", "cmd", "powershell"]);
        for shell in ["bash", "sh", "dash", "zsh", "cmd", "powershell", "pwsh"] {
            let answering = reports
                .iter()
                .filter(|rules| rules.answers.iter().any(|one| one == shell));
            assert_eq!(answering.count(), 1, "{shell}");
        }
    }

    #[test]
    fn lines_within_lines_of_another_shell_are_read() {
        let view = MemoryView::new(&[r"C:\srv\a", r"C:\srv\b"]);
        for (shell, line) in [
            ("cmd", r#"powershell -Command "Remove-Item C:\srv\a""#),
            ("powershell", r"cmd /c 'del C:\srv\a'"),
        ] {
            let request = Request {
                shell: shell.into(),
                command: line.into(),
                cwd: br"C:\srv".to_vec(),
                ..Request::default()
            };
            let scope = registry().infer(&request, &view);
            assert_eq!(scope.not_understood, [], "{line}");
            let covered = scope
                .foreign
                .iter()
                .any(|one| one.path.to_bytes().is_ok_and(|path| path == br"C:\srv\a"));
            assert!(covered || cfg!(windows), "{line}: {:?}", scope.foreign);
        }
    }
}
