//! Any bytes as an event of a backend: its name, a newline, then JSON.
//!
//! What comes out is bounded whatever came in, and every refusal has an answer.
#![no_main]

use deployx::agent::wire::{Decoded, MAX_ID, MAX_MESSAGE, MAX_REQUEST, Request, decode, refusal};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let (name, json) = text.split_once('\n').unwrap_or((&text, ""));
    let arguments = serde_json::from_str(json).into_iter().collect();
    match decode(name, arguments) {
        Decoded::Rejected(rejection) => {
            let replies = refusal(&rejection);
            assert!(!replies.is_empty());
            for reply in replies {
                assert!(reply.payload.is_object());
                assert!(reply.payload.to_string().len() < MAX_MESSAGE);
            }
        }
        Decoded::Unknown(name) => assert!(name.len() < 200),
        Decoded::Request(request) => check(&request),
    }
});

/// What is taken is bounded, and its id can be one.
fn check(request: &Request) {
    let (id, value) = match request {
        Request::Execute(one) => (&one.command_id, serde_json::to_value(one)),
        Request::Batch(one) => (&one.batch_id, serde_json::to_value(one)),
        Request::CancelCommand(one) => (&one.command_id, serde_json::to_value(one)),
        Request::CloseSession(one) => (&one.session, serde_json::to_value(one)),
        Request::Rollback(one) => (&one.snapshot_id, serde_json::to_value(one)),
        Request::Info(one) | Request::Cleanup(one) => (&one.snapshot_id, serde_json::to_value(one)),
        Request::Diff(one) => (&one.snapshot_id, serde_json::to_value(one)),
        Request::Pin(one) => (&one.snapshot_id, serde_json::to_value(one)),
        Request::RollbackBatch(one) => (&one.batch_id, serde_json::to_value(one)),
        Request::CancelBatch(one) | Request::BatchSnapshots(one) | Request::CleanupBatch(one) => {
            (&one.batch_id, serde_json::to_value(one))
        }
        Request::NotRegistered(told) => return assert!(told.error.len() <= 1004),
        Request::List | Request::Shells | Request::Registered => return,
    };
    assert!(!id.is_empty() && id.len() <= MAX_ID && !id.chars().any(char::is_control));
    let value = value.expect("a request can be written down");
    // Every byte of a text may need six in JSON; names of fields come on top.
    assert!(value.to_string().len() < 6 * MAX_REQUEST + 10_000);
}
