//! What is encoded comes back, and nothing else gets through.

use deployx_plugin_abi::wire::{
    self, DecodeError, PathFault, Writer, decode_inference, decode_request, decode_rule_error,
    encode_inference, encode_request, encode_rule_error, tag,
};
use deployx_plugin_abi::{
    Certainty, Depth, Effect, Inference, PathUse, Request, RuleError, SessionState, Unclear,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,12}"
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    let root = prop_oneof![
        Just(b"/".to_vec()),
        Just(b"C:\\".to_vec()),
        Just(b"\\\\server\\share\\".to_vec())
    ];
    let name = vec(prop_oneof![b'a'..=b'z', 0x80..=0xff_u8], 1..8);
    (root, vec(name, 0..4), any::<bool>()).prop_map(|(mut path, names, _)| {
        path.extend(names.join(&b'/'));
        path
    })
}

fn session() -> impl Strategy<Value = SessionState> {
    let names = || vec(text(), 0..3);
    (names(), names(), any::<bool>(), any::<bool>()).prop_map(
        |(assigned, redefined, options_changed, unknown)| SessionState {
            assigned,
            redefined,
            options_changed,
            unknown,
        },
    )
}

fn request() -> impl Strategy<Value = Request> {
    let env = vec((text(), bytes()), 0..4);
    (text(), bytes(), path(), option::of(path()), env, session()).prop_map(
        |(shell, command, cwd, home, env, session)| Request {
            shell,
            command,
            cwd,
            home,
            env,
            session,
        },
    )
}

fn path_use() -> impl Strategy<Value = PathUse> {
    let depth = prop_oneof![Just(Depth::Entry), Just(Depth::Children), Just(Depth::Tree)];
    let certainty = prop_oneof![
        Just(Certainty::Possible),
        Just(Certainty::Likely),
        Just(Certainty::Certain)
    ];
    (path(), depth, certainty, any::<bool>(), text(), text()).prop_map(
        |(path, depth, certainty, follow, reason, rule)| PathUse {
            path,
            depth,
            certainty,
            follow,
            reason,
            rule,
        },
    )
}

fn inference() -> impl Strategy<Value = Inference> {
    let unclear = (bytes(), option::of(path()), text()).prop_map(|(text, cwd, reason)| Unclear {
        text,
        cwd,
        reason,
    });
    let effect = (text(), text()).prop_map(|(what, reason)| Effect { what, reason });
    (
        vec(path_use(), 0..5),
        option::of(path()),
        vec(unclear, 0..3),
        vec(effect, 0..3),
        any::<bool>(),
        session(),
    )
        .prop_map(
            |(paths, cwd_after, unclear, irreversible, destructive, session)| Inference {
                paths,
                cwd_after,
                unclear,
                irreversible,
                destructive,
                session,
            },
        )
}

proptest! {
    #[test]
    fn requests_come_back(request in request()) {
        prop_assert_eq!(decode_request(&encode_request(&request)), Ok(request));
    }

    #[test]
    fn answers_come_back(inference in inference()) {
        prop_assert_eq!(decode_inference(&encode_inference(&inference)), Ok(inference));
    }

    #[test]
    fn rule_errors_come_back(source in text(), line in 0..9_usize, column in 0..9_usize, message in text()) {
        let error = RuleError { source, line, column, message };
        prop_assert_eq!(decode_rule_error(&encode_rule_error(&error)), Ok(error));
    }

    #[test]
    fn any_bytes_are_answered(bytes in vec(any::<u8>(), 0..400)) {
        let _ = (decode_request(&bytes), decode_inference(&bytes), decode_rule_error(&bytes));
    }

    #[test]
    fn an_answer_cut_anywhere_is_answered(inference in inference(), at in any::<prop::sample::Index>()) {
        let bytes = encode_inference(&inference);
        let _ = decode_inference(&bytes[..at.index(bytes.len())]);
    }

    #[test]
    fn a_changed_byte_is_answered(inference in inference(), at in any::<prop::sample::Index>(), to: u8) {
        let mut bytes = encode_inference(&inference);
        let at = at.index(bytes.len());
        bytes[at] = to;
        let _ = decode_inference(&bytes);
    }
}

/// An answer with one path record that `fill` writes.
fn one_path(fill: impl FnOnce(&mut Writer)) -> Result<Inference, DecodeError> {
    let mut writer = Writer::default();
    writer.put_nested(tag::INFERENCE_PATH, fill);
    decode_inference(&writer.finish())
}

fn with_path(path: &[u8]) -> Result<Inference, DecodeError> {
    one_path(|inner| {
        inner.put(tag::PATH_PATH, path);
        inner.put(tag::PATH_DEPTH, &[2]);
        inner.put(tag::PATH_CERTAINTY, &[2]);
    })
}

fn fault(path: &[u8]) -> Option<PathFault> {
    match with_path(path) {
        Ok(_) => None,
        Err(DecodeError::Path { fault, .. }) => Some(fault),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_bad_path_is_named() {
    for (path, expected) in [
        (&b""[..], Some(PathFault::Empty)),
        (b"a/b", Some(PathFault::Relative)),
        (b"C:a", Some(PathFault::Relative)),
        (b"\\a", Some(PathFault::Relative)),
        (b"/a/../b", Some(PathFault::NotNormal)),
        (b"/a/./b", Some(PathFault::NotNormal)),
        (b"/..", Some(PathFault::NotNormal)),
        (b"C:\\a\\..\\b", Some(PathFault::NotNormal)),
        (b"\\\\s\\x\\..", Some(PathFault::NotNormal)),
        (b"/a\0b", Some(PathFault::Nul)),
        (b"/", None),
        (b"/..a/b..", None),
        // In Unix syntax a backslash is a letter like any other.
        (b"/a\\..\\b", None),
        (b"/\xff\xfe", None),
        (b"c:/x", None),
    ] {
        assert_eq!(fault(path), expected, "{}", path.escape_ascii());
    }
    let long = [b"/".as_slice(), &vec![b'a'; wire::MAX_PATH_BYTES]].concat();
    assert_eq!(fault(&long), Some(PathFault::TooLong));
}

#[test]
fn errors_say_what_is_wrong() {
    let out_of_range = one_path(|inner| {
        inner.put(tag::PATH_PATH, b"/a");
        inner.put(tag::PATH_DEPTH, &[3]);
        inner.put(tag::PATH_CERTAINTY, &[0]);
    });
    let cases = [
        (out_of_range, "path.depth is out of range: 3"),
        (with_path(b"a"), "path.path is not absolute: \"a\""),
        (
            one_path(|inner| inner.put(tag::PATH_PATH, b"/a")),
            "path.depth is missing",
        ),
        (
            one_path(|inner| inner.put(tag::PATH_REASON, b"\xff")),
            "path.reason is not UTF-8",
        ),
        (
            one_path(|inner| inner.put(tag::PATH_DEPTH, b"")),
            "path.depth has a length of 0 bytes",
        ),
        (
            one_path(|inner| {
                inner.put(tag::PATH_PATH, b"/a");
                inner.put(tag::PATH_PATH, b"/a");
            }),
            "path.path stands twice",
        ),
        (
            decode_inference(&[1, 0, 255, 0, 0, 0]),
            "the record at byte 0 is cut short",
        ),
        (
            decode_inference(&[1, 0, 0]),
            "the record at byte 0 is cut short",
        ),
    ];
    for (result, message) in cases {
        assert_eq!(result.unwrap_err().to_string(), message);
    }
}

#[test]
fn records_of_unknown_tags_are_skipped() {
    let mut writer = Writer::default();
    writer.put(999, b"from the future");
    writer.put_nested(tag::INFERENCE_PATH, |inner| {
        inner.put(888, b"");
        inner.put(tag::PATH_PATH, b"/a");
        inner.put(tag::PATH_DEPTH, &[0]);
        inner.put(tag::PATH_CERTAINTY, &[1]);
    });
    let inference = decode_inference(&writer.finish()).unwrap();
    assert_eq!(inference.paths[0].path, b"/a");
}

#[test]
fn too_much_is_refused() {
    let path = PathUse {
        path: b"/".to_vec(),
        depth: Depth::Entry,
        certainty: Certainty::Likely,
        follow: false,
        reason: String::new(),
        rule: String::new(),
    };
    let mut inference = Inference {
        paths: vec![path.clone(); wire::MAX_PATHS],
        ..Inference::default()
    };
    assert!(decode_inference(&encode_inference(&inference)).is_ok());
    inference.paths.push(path);
    assert_eq!(
        decode_inference(&encode_inference(&inference)),
        Err(DecodeError::TooMany {
            field: "inference.path",
            limit: wire::MAX_PATHS
        })
    );
    assert_eq!(
        decode_inference(&vec![0; wire::MAX_BYTES + 1]),
        Err(DecodeError::TooLong {
            len: wire::MAX_BYTES + 1
        })
    );
}
