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
        let mut agent = Agent::start(&server, &[]);
        agent.wait_for_log("UnknownIssuer");
        assert!(agent.is_running(), "{}", agent.log());
        drop(agent);
        let (ca, certificate, key) = (file("ca.pem"), file("client.pem"), file("client.key"));
        // With a name that the certificate does not have neither, nor without a client's where the server
        // asks for one.
        let other = format!("https://localhost:{}", backend.port);
        let mut bad = vec![(other, "not valid for name")];
        if client {
            bad.push((server.clone(), "CertificateRequired"));
        }
        for (address, reason) in bad {
            let mut agent = Agent::start(&address, &["--ca-file", &ca]);
            for _ in 0..2 {
                agent.wait_for_log(reason);
            }
            assert!(agent.is_running(), "{}", agent.log());
            let connected = |line: &serde_json::Value| line["connected"].is_string().then_some(());
            assert_eq!(backend.find(Duration::ZERO, connected), None);
        }
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
    use std::os::unix::fs::PermissionsExt as _;
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
        assert_eq!(found["state"], "made at the first start");
        let limits = found["cannot_restore"].as_array().map(Vec::len);
        assert_eq!(limits == Some(0), common::is_root(), "{found}");
        assert!(!dir.path().join("store.agent").exists());
        backend.wait("the connection", |line| {
            line["connected"].is_string().then_some(())
        });
        // With the id of an agent that ran before.
        let state = dir.path().join("store.agent");
        std::fs::create_dir(&state).expect("a directory");
        std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o700)).expect("a mode");
        std::fs::write(state.join("agent_id"), "agent-1\n").expect("an id");
        assert!(check(backend.port).status.success());
        let auth = backend.wait("the connection", |line| line.get("auth").cloned());
        assert_eq!(auth["agent_id"], "agent-1");
        assert!(
            backend
                .find(Duration::from_secs(1), |line| (line["event"]
                    == "agent_register")
                    .then_some(()))
                .is_none()
        );
        std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o777)).expect("a mode");
        let output = check(backend.port);
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(output.status.code(), Some(1));
        let error = found["state_error"].as_str().unwrap_or_default();
        assert!(error.contains("0777"), "{found}");
        std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o700)).expect("a mode");
        backend.kill();
        assert_eq!(check(backend.port).status.code(), Some(1));
    }
}

#[test]
fn a_host_without_authorities_is_told_so() {
    let run = |server: &str| {
        let dir = tempfile::tempdir().expect("a directory");
        common::deployx()
            .envs([
                ("SSL_CERT_FILE", "/nonexistent"),
                ("SSL_CERT_DIR", "/nonexistent"),
            ])
            .arg("--snapshot-dir")
            .arg(dir.path().join("store"))
            .args(["agent", "--check", "--server", server])
            .output()
            .expect("the check")
    };
    let output = run("https://127.0.0.1:1");
    assert_eq!(output.status.code(), Some(2), "{}", common::text(&output));
    assert!(
        common::text(&output).contains("ca-certificates"),
        "{}",
        common::text(&output)
    );
    // Without encryption none is needed; there is no server.
    let output = run("http://127.0.0.1:1");
    assert_eq!(output.status.code(), Some(1), "{}", common::text(&output));
}
