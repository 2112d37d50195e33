//! Any bytes as what crosses the interface to plugins. What can be decoded has to survive being
//! encoded again.
#![no_main]

use deployx_plugin_abi::wire;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = wire::decode_request(bytes) {
        let again = wire::encode_request(&request);
        assert_eq!(wire::decode_request(&again).as_ref(), Ok(&request));
    }
    if let Ok(inference) = wire::decode_inference(bytes) {
        let again = wire::encode_inference(&inference);
        assert_eq!(wire::decode_inference(&again).as_ref(), Ok(&inference));
    }
    if let Ok(error) = wire::decode_rule_error(bytes) {
        let again = wire::encode_rule_error(&error);
        assert_eq!(wire::decode_rule_error(&again).as_ref(), Ok(&error));
    }
});
