//! Any bytes as an event of a backend: its name, a newline, then JSON.
//!
//! What comes out is bounded whatever came in, and every refusal has an answer.
#![no_main]

use deployx::agent::wire::{Decoded, MAX_MESSAGE, decode, refusal};
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
        Decoded::Request(_) => {}
    }
});
