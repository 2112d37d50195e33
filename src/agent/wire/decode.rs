//! From a received event to a request, or to the reply that refuses it.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::bound::shorten;
use super::request::{
    Batch, Execute, MAX_COMMAND, MAX_COMMANDS, MAX_ID, MAX_REQUEST, RegistrationError, Request,
};

/// What an event turned out to be. Bounded in size whatever came in.
#[derive(Debug, Clone, PartialEq)]
pub enum Decoded {
    /// A request.
    Request(Box<Request>),
    /// A known event that makes no sense.
    Rejected(Rejection),
    /// An event that is not in the protocol.
    Unknown(String),
}

/// Why an event is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rejection {
    /// The event's name.
    pub event: String,
    /// The id it was about, where it had one, else empty.
    pub id: String,
    /// What is wrong with it.
    pub error: String,
    /// As in the request: `execution_id`.
    pub execution_id: Value,
    /// As in the request: `group_execution`.
    pub group_execution: Value,
}

/// The longest field that a refusal gives back.
const MAX_RETURNED: usize = 4096;

/// Reads an event. Never fails and never panics, whatever `arguments` hold.
pub fn decode(event: &str, arguments: Vec<Value>) -> Decoded {
    let mut arguments = arguments.into_iter();
    let payload = arguments.next().unwrap_or(Value::Null);
    let reader = Reader { event, payload };
    match event {
        "execute_deployment_command" => reader.checked(Request::Execute, check_execute),
        "execute_batch_persistent" => reader.checked(Request::Batch, check_batch),
        "cancel_command" => reader.read(Request::CancelCommand),
        "cancel_batch" => reader.read(Request::CancelBatch),
        "close_session" => reader.read(Request::CloseSession),
        "rollback_command" => reader.read(Request::Rollback),
        "rollback_batch" => reader.read(Request::RollbackBatch),
        "get_snapshot_info" => reader.read(Request::Info),
        "get_batch_snapshots" => reader.read(Request::BatchSnapshots),
        "list_snapshots" => request(Request::List),
        "cleanup_snapshot" => reader.read(Request::Cleanup),
        "cleanup_batch" => reader.read(Request::CleanupBatch),
        "get_snapshot_diff" => reader.read(Request::Diff),
        "pin_snapshot" => reader.read(Request::Pin),
        "get_shells" => request(Request::Shells),
        "registration_success" => request(Request::Registered),
        "registration_error" => {
            let told: RegistrationError =
                serde_json::from_value(reader.payload).unwrap_or_default();
            request(Request::NotRegistered(RegistrationError {
                error: shorten(&told.error, 1000),
            }))
        }
        other => Decoded::Unknown(shorten(other, 100)),
    }
}

fn request(request: Request) -> Decoded {
    Decoded::Request(Box::new(request))
}

struct Reader<'a> {
    event: &'a str,
    payload: Value,
}

impl Reader<'_> {
    fn read<T: DeserializeOwned>(self, make: impl FnOnce(T) -> Request) -> Decoded {
        self.checked(make, |_| Ok(()))
    }

    fn checked<T: DeserializeOwned>(
        self,
        make: impl FnOnce(T) -> Request,
        check: impl FnOnce(&T) -> Result<(), String>,
    ) -> Decoded {
        let id = self.id();
        let reject = |error: &str| {
            Decoded::Rejected(Rejection {
                event: self.event.to_owned(),
                id: id.clone().unwrap_or_default(),
                error: shorten(error, 1000),
                execution_id: self.returned("execution_id"),
                group_execution: self.returned("group_execution"),
            })
        };
        let key = id_key(self.event);
        match self.payload.get(key) {
            None if !self.payload.is_object() => {
                return reject("the event carries no object");
            }
            None | Some(Value::Null) => return reject(&format!("{key} is missing")),
            Some(Value::String(id)) => {
                if let Err(error) = check_id(id) {
                    return reject(&format!("{key} {error}"));
                }
            }
            Some(_) => return reject(&format!("{key} is not a text")),
        }
        if weight(&self.payload) > MAX_REQUEST {
            return reject(&format!(
                "the event carries more than {MAX_REQUEST} bytes, of which each value takes 32"
            ));
        }
        match serde_path_to_error::deserialize::<_, T>(&self.payload) {
            Err(error) => reject(&error.to_string()),
            Ok(value) => match check(&value) {
                Err(error) => reject(&error),
                Ok(()) => request(make(value)),
            },
        }
    }

    /// A field that is given back as it is, unless it is long.
    fn returned(&self, field: &str) -> Value {
        let value = self.payload.get(field).unwrap_or(&Value::Null);
        if weight(value) > MAX_RETURNED {
            return Value::Null;
        }
        value.clone()
    }

    /// The id for the reply, shortened where it is too long to be one.
    fn id(&self) -> Option<String> {
        match self.payload.get(id_key(self.event))? {
            Value::String(id) => Some(shorten(id, MAX_ID)),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

/// The field that holds the id of what an event is about.
pub(super) fn id_key(event: &str) -> &'static str {
    match event {
        "execute_deployment_command" | "cancel_command" => "command_id",
        "execute_batch_persistent"
        | "cancel_batch"
        | "rollback_batch"
        | "get_batch_snapshots"
        | "cleanup_batch" => "batch_id",
        "close_session" => "session",
        _ => "snapshot_id",
    }
}

fn check_id(id: &str) -> Result<(), String> {
    if id.is_empty() {
        return Err("is empty".into());
    }
    if id.len() > MAX_ID {
        return Err(format!("is longer than {MAX_ID} bytes"));
    }
    if id.chars().any(char::is_control) {
        return Err("has control characters".into());
    }
    Ok(())
}

fn check_execute(request: &Execute) -> Result<(), String> {
    check_command(&request.command)?;
    if let Some(session) = &request.session {
        check_id(session).map_err(|error| format!("session {error}"))?;
    } else if request.session_shell.is_some() {
        return Err("session_shell needs session".into());
    }
    check_timeout(request.timeout_s)
}

fn check_batch(request: &Batch) -> Result<(), String> {
    if request.commands.is_empty() {
        return Err("the batch has no commands".into());
    }
    if request.commands.len() > MAX_COMMANDS {
        return Err(format!("the batch has more than {MAX_COMMANDS} commands"));
    }
    request
        .commands
        .iter()
        .try_for_each(|command| check_command(command))?;
    if ["last", ".", ".."].contains(&request.batch_id.as_str()) {
        return Err(format!("a batch cannot be called '{}'", request.batch_id));
    }
    check_timeout(request.timeout_s)
}

fn check_command(command: &str) -> Result<(), String> {
    if command.trim().is_empty() {
        return Err("the command is empty".into());
    }
    if command.contains('\0') {
        return Err("the command has a NUL byte, which no shell can take".into());
    }
    if command.len() > MAX_COMMAND {
        return Err(format!("the command is longer than {MAX_COMMAND} bytes"));
    }
    Ok(())
}

fn check_timeout(seconds: Option<f64>) -> Result<(), String> {
    match seconds {
        Some(seconds) if !(seconds > 0.0 && seconds <= 1e9) => {
            Err("timeout_s is not between 0 and 1,000,000,000 seconds".into())
        }
        _ => Ok(()),
    }
}

/// Bytes of all texts in a value, and some for each value, which takes memory however small it is.
pub fn weight(value: &Value) -> usize {
    const EACH: usize = 32;
    EACH + match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(weight).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| EACH + name.len() + weight(value))
            .sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(event: &str, payload: Value) -> Decoded {
        decode(event, vec![payload])
    }

    fn rejection(event: &str, payload: Value) -> Rejection {
        match one(event, payload) {
            Decoded::Rejected(rejection) => rejection,
            other => panic!("{event} was taken: {other:?}"),
        }
    }

    #[test]
    fn the_documented_requests_are_taken() {
        let Decoded::Request(request) = one(
            "execute_deployment_command",
            json!({"command_id": "cmd_123", "command": "mkdir new_folder", "shell": "cmd", "later": 1}),
        ) else {
            panic!("refused");
        };
        let Request::Execute(request) = *request else {
            panic!("something else");
        };
        assert_eq!(request.command_id, "cmd_123");
        assert_eq!(request.shell.as_deref(), Some("cmd"));
        assert_eq!(request.snapshot, None);
        for (event, payload) in [
            (
                "execute_batch_persistent",
                json!({"batch_id": "b", "commands": ["cd x"], "shell": "sh", "stop_on_failure": true}),
            ),
            ("rollback_command", json!({"snapshot_id": "abc123def456"})),
            (
                "rollback_command",
                json!({"snapshot_id": "a", "on_conflict": "skip", "paths": null}),
            ),
            ("rollback_batch", json!({"batch_id": "b", "dry_run": true})),
            ("list_snapshots", json!({})),
            ("list_snapshots", Value::Null),
            ("get_shells", Value::Null),
            ("pin_snapshot", json!({"snapshot_id": "a", "pinned": false})),
            ("close_session", json!({"session": "deploy 7"})),
        ] {
            assert!(
                matches!(one(event, payload), Decoded::Request(_)),
                "{event}"
            );
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_id_and_the_field() {
        let event = "execute_deployment_command";
        let refused = rejection(event, json!({"command_id": "c", "command": 5}));
        assert_eq!(refused.id, "c");
        assert!(refused.error.starts_with("command:"), "{}", refused.error);
        let refused = rejection(
            event,
            json!({"command_id": "c", "execution_id": 7, "group_execution": "x".repeat(9000)}),
        );
        assert_eq!(
            (&refused.execution_id, &refused.group_execution),
            (&json!(7), &Value::Null)
        );
        let small = json!({"command_id": "c", "command": "ls", "y": vec![json!({"": 0}); 50_000]});
        assert!(rejection(event, small).error.contains("more than"));
        assert!(
            rejection(event, json!({"command": "ls"}))
                .error
                .contains("command_id")
        );
        assert!(rejection(event, json!([1, 2])).error.contains("no object"));
        assert_eq!(
            rejection(event, json!({"command_id": 17, "command": "ls"})).id,
            "17"
        );
        for bad in [
            json!({"command_id": "c", "command": " "}),
            json!({"command_id": "", "command": "ls"}),
            json!({"command_id": "a\nb", "command": "ls"}),
            json!({"command_id": "c", "command": "l\u{0}s"}),
            json!({"command_id": "c", "command": "ls", "timeout_s": -1}),
            json!({"command_id": "c", "command": "ls", "timeout_s": "5"}),
            json!({"command_id": "c", "command": "ls", "env": {"A": 1}}),
            json!({"command_id": "c", "command": "ls", "snapshot": "yes"}),
            json!({"command_id": "c", "command": "ls", "session": ""}),
            json!({"command_id": "c", "command": "ls", "session": "a\nb"}),
            json!({"command_id": "c", "command": "ls", "session": 1}),
            json!({"command_id": "c", "command": "ls", "session_shell": "1"}),
            json!({"command_id": "c", "command": "x".repeat(MAX_COMMAND + 1)}),
            json!({"command_id": "i".repeat(300), "command": "ls"}),
        ] {
            rejection(event, bad);
        }
        rejection(
            "execute_batch_persistent",
            json!({"batch_id": "b", "commands": []}),
        );
        for id in ["last", ".", ".."] {
            rejection(
                "execute_batch_persistent",
                json!({"batch_id": id, "commands": ["ls"]}),
            );
        }
        rejection(
            "rollback_command",
            json!({"snapshot_id": "a", "on_conflict": "panic"}),
        );
        rejection("close_session", json!({"session": ["a"]}));
    }

    #[test]
    fn a_rejection_is_small_whatever_came_in() {
        let refused = rejection(
            "execute_deployment_command",
            json!({"command_id": "c".repeat(1 << 20), "command": "x".repeat(10 << 20)}),
        );
        assert!(refused.id.len() <= MAX_ID + 4);
        assert!(refused.error.len() <= 1004);
        let Decoded::Unknown(name) = decode(&"e".repeat(1 << 20), Vec::new()) else {
            panic!("known");
        };
        assert!(name.len() < 200);
    }

    /// Any JSON, with names and values that the protocol has more often than chance would.
    fn any_json() -> impl proptest::strategy::Strategy<Value = Value> {
        use proptest::prelude::*;
        let names = "command_id|session|session_shell|batch_id|snapshot_id|command|commands|shell|env|cwd|timeout_s|snapshot|paths|pinned|on_conflict|[a-z]{0,4}";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "skip|abort|last|\\.\\./x|.{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((names, inner), 0..8)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest::proptest! {
        #[test]
        fn anything_is_taken_or_answered(
            event in "execute_deployment_command|execute_batch_persistent|cancel_command|close_session|rollback_command|rollback_batch|get_snapshot_info|get_batch_snapshots|cleanup_batch|get_snapshot_diff|pin_snapshot|registration_error|.{0,10}",
            payload in any_json(),
        ) {
            match decode(&event, vec![payload]) {
                Decoded::Rejected(rejection) => {
                    let replies = crate::agent::wire::refusal(&rejection);
                    proptest::prop_assert!(!replies.is_empty());
                    for reply in replies {
                        proptest::prop_assert!(reply.payload.to_string().len() < 10_000);
                    }
                }
                Decoded::Request(_) | Decoded::Unknown(_) => {}
            }
        }
    }
}
