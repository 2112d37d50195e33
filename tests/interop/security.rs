//! Tokens, TLS, and what may be run.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::backend::{Agent, Backend, Kind, kinds};
use crate::common;

#[test]
fn a_token_is_asked_for_and_never_shown() {
    use std::os::unix::fs::PermissionsExt as _;
    for kind in kinds("a_token_is_asked_for_and_never_shown") {
        let dir = tempfile::tempdir().expect("a directory");
        let token = |name: &str, text: &str| {
            let file = dir.path().join(name);
            std::fs::write(&file, text).expect("a token");
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))
                .expect("a mode");
            file.display().to_string()
        };
        let mut backend = Backend::start(kind, json!({ "token": "the-right-one" }));
        let server = format!("http://127.0.0.1:{}", backend.port);
        let wrong = Agent::start(&server, &["--token-file", &token("wrong", "the-wrong-one")]);
        // It is refused again and again and never registers.
        for _ in 0..2 {
            backend.wait("a refusal", |line| line["refused"].as_bool());
        }
        drop(wrong);
        let file = token("right", "the-right-one\n");
        let mut agent = Agent::prepared(&server, &["--token-file", &file], "");
        // Not even where everything is logged, that of the libraries for the line too.
        agent.set_variables(&[(
            "DEPLOYX_LOG",
            OsStr::new("trace,tungstenite::handshake=trace"),
        )]);
        agent.launch();
        let connected = backend.wait("a connection", |line| {
            line["connected"].is_string().then(|| line.clone())
        });
        assert_eq!(connected["header"], "Bearer the-right-one");
        backend.event("join_room");
        let tree = tempfile::tempdir().expect("a tree");
        let done = backend.run(
            "peek",
            "env; echo the-right-one; tr '\\0' ' ' < /proc/$PPID/cmdline",
            tree.path(),
        );
        assert_eq!(done["success"], true);
        assert!(
            !done["output"]
                .as_str()
                .unwrap_or_default()
                .contains("the-right-one"),
            "{done}"
        );
        assert!(!agent.log().contains("the-right-one"));
    }
}

/// A test authority, a server certificate for 127.0.0.1 and a client certificate.
fn certificates(dir: &Path) -> bool {
    let script = "set -e; \
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca \
            -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign; \
        for who in server client; do \
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout $who.key -out $who.csr -subj /CN=$who; \
            printf 'subjectAltName=IP:127.0.0.1\\nbasicConstraints=CA:FALSE\\n' > $who.ext; \
            openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out $who.pem -days 2 -extfile $who.ext; \
        done; chmod 600 *.key";
    let output = std::process::Command::new("bash")
        .args(["-c", script])
        .current_dir(dir)
        .output();
    output.is_ok_and(|output| output.status.success())
}

#[test]
fn tls_is_verified_against_the_authority_that_is_named() {
    let test = "tls_is_verified_against_the_authority_that_is_named";
    let dir = tempfile::tempdir().expect("a directory");
    if !common::require(test, "openssl", certificates(dir.path())) {
        return;
    }
    let file = |name: &str| dir.path().join(name).display().to_string();
    for kind in kinds(test) {
        let mut settings = json!({ "cert": file("server.pem"), "key": file("server.key") });
        let client = kind == Kind::Node;
        if client {
            settings["ca"] = file("ca.pem").into();
        }
        let mut backend = Backend::start(kind, settings);
        let server = format!("https://127.0.0.1:{}", backend.port);
        // Without the authority there is no connection.
        let agent = Agent::start(&server, &[]);
        std::thread::sleep(Duration::from_secs(3));
        assert!(
            agent.log().contains("certificate") || agent.log().contains("UnknownIssuer"),
            "{}",
            agent.log()
        );
        assert!(
            backend
                .find(Duration::from_secs(1), |line| line["connected"]
                    .as_str()
                    .map(str::to_owned))
                .is_none()
        );
        drop(agent);
        // With a name that the certificate does not have neither.
        let other = format!("https://localhost:{}", backend.port);
        let agent = Agent::start(&other, &["--ca-file", &file("ca.pem")]);
        assert!(
            backend
                .find(Duration::from_secs(3), |line| line["connected"]
                    .as_str()
                    .map(str::to_owned))
                .is_none()
        );
        drop(agent);
        let (ca, certificate, key) = (file("ca.pem"), file("client.pem"), file("client.key"));
        let mut options = vec!["--ca-file", &ca];
        if client {
            options.extend(["--client-certificate", &certificate, "--client-key", &key]);
        }
        let _agent = Agent::start(&server, &options);
        backend.event("join_room");
        let tree = tempfile::tempdir().expect("a tree");
        let done = backend.run(
            "over-tls",
            "head -c 3000000 /dev/zero | tr '\\0' x; echo end",
            tree.path(),
        );
        assert_eq!(done["success"], true);
        assert!(
            done["output"]
                .as_str()
                .is_some_and(|text| text.ends_with("end\n"))
        );
    }
}

#[test]
fn plain_text_to_another_host_is_refused() {
    let output = common::deployx()
        .args(["agent", "--server", "http://backend.example"])
        .output()
        .expect("the agent");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--insecure-http"));
    let output = common::deployx()
        .args(["agent"])
        .output()
        .expect("the agent");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn what_is_not_on_the_lists_is_not_run() {
    for kind in kinds("what_is_not_on_the_lists_is_not_run")
        .into_iter()
        .take(1)
    {
        let tree = tempfile::tempdir().expect("a tree");
        let path = tree
            .path()
            .canonicalize()
            .expect("a path")
            .display()
            .to_string();
        let mut backend = Backend::start(kind, json!({}));
        let _agent = Agent::start(
            &format!("http://127.0.0.1:{}", backend.port),
            &[
                "--allow-shell",
                "bash",
                "--allow-command",
                "touch *",
                "--allow-command",
                "rm -rf *",
                "--allow-path",
                &path,
            ],
        );
        backend.event("join_room");
        assert_eq!(
            backend.run("1", "touch allowed", tree.path())["success"],
            true
        );
        for (id, command) in [
            ("2", "touch a; rm -rf /"),
            ("3", "id"),
            ("4", "rm -rf /srv/elsewhere"),
        ] {
            let done = backend.run(id, command, tree.path());
            assert_eq!(done["success"], false, "{command}");
            assert!(
                done["error"]
                    .as_str()
                    .is_some_and(|text| text.contains("allowed") || text.contains("may not")),
                "{done}"
            );
        }
        backend.emit(
            "execute_deployment_command",
            json!({"command_id": "5", "command": "touch x", "shell": "sh"}),
        );
        let done = backend.event_of("deployment_command_completed", "command_id", "5");
        assert!(
            done["error"]
                .as_str()
                .is_some_and(|text| text.contains("'sh' is not allowed"))
        );
    }
}

#[test]
fn a_check_tests_the_connection_without_registering() {
    for kind in kinds("a_check_tests_the_connection_without_registering") {
        let mut backend = Backend::start(kind, json!({}));
        let dir = tempfile::tempdir().expect("a directory");
        let check = |port: u16| {
            common::deployx()
                .arg("--snapshot-dir")
                .arg(dir.path().join("store"))
                .args([
                    "--json",
                    "agent",
                    "--check",
                    "--server",
                    &format!("http://127.0.0.1:{port}"),
                ])
                .output()
                .expect("the check")
        };
        let output = check(backend.port);
        assert!(output.status.success(), "{}", common::text(&output));
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(found["connected"], true);
        assert!(
            backend
                .find(Duration::from_secs(1), |line| (line["event"]
                    == "agent_register")
                    .then_some(()))
                .is_none()
        );
        backend.kill();
        assert_eq!(check(backend.port).status.code(), Some(1));
    }
}
