//! What secrets look like, and which text only looks like one.

use std::ops::Range;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// Texts that are secrets whatever stands around them: keys of clouds, forges and services. `\b` is
/// the border of ASCII words, which is the fast one.
const TOKENS: &[&str] = &[
    r"(?-u:\b)A(?:KIA|SIA|BIA|CCA)[0-9A-Z]{16}",
    r"(?-u:\b)gh[pousr]_[A-Za-z0-9]{36,}",
    r"(?-u:\b)github_pat_[A-Za-z0-9_]{22,}",
    r"(?-u:\b)gl(?:pat|dt|rt|ptt|ft|soat|cbt|oas)-[A-Za-z0-9_\-]{20,}",
    r"(?-u:\b)xox[abeprs]-[A-Za-z0-9\-]{10,}",
    r"(?-u:\b)xapp-[A-Za-z0-9\-]{10,}",
    r"(?-u:\b)[sr]k_(?:live|test)_[A-Za-z0-9]{16,}",
    r"(?-u:\b)whsec_[A-Za-z0-9+/=]{16,}",
    r"(?-u:\b)npm_[A-Za-z0-9]{36}",
    r"(?-u:\b)pypi-[A-Za-z0-9_\-]{32,}",
    r"(?-u:\b)hf_[A-Za-z0-9]{20,}",
    r"(?-u:\b)dckr_(?:pat|oat)_[A-Za-z0-9_\-]{20,}",
    r"(?-u:\b)do[opr]_v1_[0-9a-f]{40,}",
    r"(?-u:\b)hv[sb]\.[A-Za-z0-9_\-]{20,}",
    r"(?-u:\b)SG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}",
    r"(?-u:\b)AIza[0-9A-Za-z_\-]{35}",
    r"(?-u:\b)ya29\.[0-9A-Za-z_\-]{20,}",
    r"AGE-SECRET-KEY-1[0-9A-Z]{20,}",
    r"(?-u:\b)eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}",
];

/// Names whose values are secrets.
const NAMES: &str = r"(?i:passwords?|passwd|passphrase|[_.\-](?:pass|pwd)|secret(?:[_\-]?(?:access[_\-]?)?key(?:[_\-]?base)?)?|(?:api|access|account|signing|encryption|master|auth)[_\-]?key|(?:access|auth|refresh|session|api|private)[_\-]?token|credentials?)";

/// Between a name and its value. Quotes may be escaped, in JSON within JSON.
const IS: &str = r#"\\?["']?\]?[ \t]{0,4}(?:=>|:=|[:=])[ \t]{0,4}"#;

/// A private key, whole or without its end; within JSON and differences too.
const KEY_BEGIN: &str = r"-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----";
const KEY_END: &str = r"-----END [A-Z ]{0,32}PRIVATE KEY-----";
const KEY_BREAK: &str = r"(?:(?:\\r)?\\n|\r?\n[+\- ]?)+";
const KEY_HEADER: &str = r"[A-Z][A-Za-z\-]{2,20}: [^\n]{0,120}";

/// What stands in a match for a secret, and whether it is one.
type Judge = fn(&str) -> bool;

/// The groups that hold secrets. A match without any is one as a whole.
const GROUPS: &[(&str, Judge)] = &[
    ("sk", has_digit),
    ("url", |_| true),
    ("user", has_digit),
    ("header", |value| has_digit(value) || value.len() >= 16),
    ("scheme", is_random),
    ("flag", |value| is_value(value) && !is_placeholder(value)),
    ("double", is_value),
    ("single", is_value),
    ("bare", is_value),
    ("yaml", is_value),
    ("token", |value| has_digit(value) && !value.contains('(')),
];

static SHAPES: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let mut shapes: Vec<String> = TOKENS.iter().map(|&shape| shape.to_owned()).collect();
    shapes.extend([
        format!(
            "{KEY_BEGIN}(?:[A-Za-z0-9+/= ]*(?:{KEY_BREAK}(?:{KEY_HEADER}|[A-Za-z0-9+/=]+))*(?:{KEY_BREAK})?{KEY_END}|(?:{KEY_BREAK}(?:{KEY_HEADER}|[A-Za-z0-9+/=]{{16,}}))*)"
        ),
        r"(?-u:\b)(?P<sk>sk-[A-Za-z0-9_\-]{20,})".to_owned(),
        r#"://[^\s/:@"'<>]{0,128}:(?P<url>[^\s/"'<>]{1,256})@"#.to_owned(),
        r#"://(?P<user>[^\s/:@"'<>]{20,256})@"#.to_owned(),
        format!(
            r#"(?i:authorization){IS}\\?["']?(?:(?i:bearer|basic|token|digest|apikey)[ \t]+)?(?P<header>[^\s"',;\\]{{6,}})"#
        ),
        r"(?-u:\b)(?i:bearer|basic)[ \t]+(?P<scheme>[A-Za-z0-9+/._~=\-]{16,})".to_owned(),
        format!(r#"--[a-z0-9\-]{{0,32}}(?:{NAMES}|token)[ \t]+["']?(?P<flag>[^\s"'=\-][^\s"']{{2,}})"#),
        format!(r#"{NAMES}{IS}\\?"(?P<double>(?:[^"\\\n]|\\[^"\n]|\\"[^,:}}\]\s]){{3,}})"#),
        format!(r"{NAMES}{IS}'(?P<single>[^'\n]{{3,}})"),
        format!(r#"{NAMES}["']?[ \t]{{0,4}}(?:=>|:=|=)[ \t]{{0,4}}(?P<bare>[^\s"'=<>;][^\s"';]{{2,}})"#),
        format!(r#"(?m:{NAMES}["']?:[ \t]{{1,4}}(?P<yaml>[^\s"'][^\s"']{{2,}})[ \t\r]*(?:$|[,}}#]))"#),
        format!(r#"(?i:token){IS}["']?(?P<token>[^\s"'=;,]{{8,}})"#),
    ]);
    // A test makes sure that this is a regular expression.
    Regex::new(&shapes.join("|")).ok()
});

/// What a line that may still turn out to hold a secret has in it.
static SUSPICIOUS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?i)bearer|basic|passw|passp|[_.\-]pass|pwd|secret|credential|key|token|authoriz|://",
    )
    .ok()
});

/// The begin of a private key of which more may come.
static OPEN_KEY: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let partly =
        r"(?:(?:\\r)?\\?n?|\r?\n?[+\- ]?)[A-Za-z0-9+/=]{0,80}[\r\n\\]?-{0,5}(?:E[A-Z \-]{0,50})?";
    let begin = r"-----BEGIN [A-Z ]{0,45}-{0,4}";
    let line = format!("(?:{KEY_BREAK}(?:{KEY_HEADER}|[A-Za-z0-9+/=]+))*");
    Regex::new(&format!("(?:{KEY_BEGIN}{line}{partly}|{begin})$")).ok()
});

/// Whether the line may hold a secret that goes on.
pub(super) fn is_suspicious(line: &str) -> bool {
    SUSPICIOUS.as_ref().is_some_and(|one| one.is_match(line))
}

/// Where a private key begins that is not at its end.
pub(super) fn open_key(text: &str) -> Option<usize> {
    let last = text.rfind("-----BEGIN ")?;
    let found = OPEN_KEY.as_ref()?.find(&text[last..])?;
    (found.start() == 0).then_some(last)
}

/// The text with `mark` in the place of every secret.
pub(super) fn clean(text: &str, mark: &str) -> String {
    let replace = |found: &Captures<'_>| {
        let whole = found.get_match();
        match secret(found) {
            None => whole.as_str().to_owned(),
            Some(secret) => {
                let before = &text[whole.start()..secret.start];
                format!("{before}{mark}{}", &text[secret.end..whole.end()])
            }
        }
    };
    match SHAPES.as_ref() {
        Some(shapes) => shapes.replace_all(text, replace).into_owned(),
        None => text.to_owned(),
    }
}

/// Where what looks like a secret begins that lies across `cut`.
pub(super) fn across(text: &str, cut: usize) -> Option<usize> {
    let mut found = SHAPES.as_ref()?.find_iter(text);
    found.find_map(|one| (one.start() < cut && cut < one.end()).then_some(one.start()))
}

/// The part of a match that is secret.
fn secret(found: &Captures<'_>) -> Option<Range<usize>> {
    let group = GROUPS
        .iter()
        .find_map(|(name, judge)| Some((found.name(name)?, judge)));
    match group {
        None => Some(found.get_match().range()),
        Some((value, judge)) => judge(value.as_str()).then(|| value.range()),
    }
}

fn has_digit(value: &str) -> bool {
    value.contains(|c: char| c.is_ascii_digit())
}

/// Whether a word is more than one of a language.
fn is_random(value: &str) -> bool {
    let inner = value.get(1..).unwrap_or_default();
    has_digit(value) || value.ends_with('=') || inner.contains(|c: char| c.is_ascii_uppercase())
}

/// `PASSWORD`, as help texts have it.
fn is_placeholder(value: &str) -> bool {
    let upper = |c: char| c.is_ascii_uppercase() || "_[]<>|.".contains(c);
    value.chars().all(upper)
}

/// Whether this is a value, and not a word about one, a variable or an expression.
fn is_value(value: &str) -> bool {
    const WORDS: &[&str] = &[
        "true",
        "false",
        "null",
        "none",
        "nil",
        "yes",
        "off",
        "string",
        "str",
        "text",
        "bool",
        "boolean",
        "number",
        "integer",
        "object",
        "any",
        "bytes",
        "required",
        "optional",
        "undefined",
        "default",
        "changed",
        "empty",
        "redacted",
    ];
    static EXPRESSION: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(
            r"^(?:\$\{[^}]*\}|\$\([^)]*\)|\$[A-Za-z_][A-Za-z0-9_]*|\{\{.*\}\}|<[^>]*>|\*+|[A-Za-z_][A-Za-z0-9_.]*\([^)]*\)[;,]?)$",
        )
        .ok()
    });
    let word = value.trim_end_matches([',', ';', '.', ')', '}']);
    let known = WORDS.iter().any(|one| one.eq_ignore_ascii_case(word));
    !known && !EXPRESSION.as_ref().is_some_and(|one| one.is_match(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shapes_are_regular_expressions() {
        assert!(SHAPES.is_some() && SUSPICIOUS.is_some() && OPEN_KEY.is_some());
    }

    #[test]
    fn every_group_is_one_of_the_shapes() {
        let names: Vec<&str> = SHAPES.as_ref().unwrap().capture_names().flatten().collect();
        let groups: Vec<&str> = GROUPS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, groups);
    }

    #[test]
    fn secrets_are_taken_out_and_what_is_around_them_stays() {
        // The secret stands between the marks.
        for text in [
            "AWS key «AKIAABCDEFGHIJKLMNOP» here",
            "«ghp_abcdefghijklmnopqrstuvwxyz0123456789»",
            "x «glpat-abcdefghijklmnopqrst»",
            "«sk-proj-abcdefghij0123456789»",
            "«sk_live_4eC39HqLyjWDarjtT1zdp7dc»",
            "«hf_abcdefghijklmnopqrstuvwxyzABCDEFGH»",
            "«dckr_pat_abcdefghijklmnopqrstuvwxyz0»",
            "«dop_v1_0123456789abcdef0123456789abcdef0123456789abcdef»",
            "«xapp-1-A0123-4567-abcdefabcdef»",
            "«SG.aaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbb»",
            "AccountKey=«Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4==»",
            "DB_PASS=«hunter22xyz»",
            "PGPASSWORD=«hunter22xyz» psql",
            "password: «hunter22xyz»",
            "AWS_SECRET_ACCESS_KEY: «wJalrXUtnFEMIK7MDENG»",
            "client_secret: «hunter22xyz»",
            "password=\"«correct horse battery staple»\"",
            "'password': '«hunter22xyz»'",
            r#"{"password":"«ab\"hunter22xyz»"}"#,
            r#"{"password":  "«hun»"}"#,
            r#"{"log": "{\"password\":\"«hunter22xyz»\"}"}"#,
            "password=«p&ssw0rd99»",
            "--password «hunter22xyz» --verbose",
            "--api-key '«hunter22xyz»'",
            "https://bob:«hunter22»@git.example/x.git",
            "https://a:«hunter22@xyzzy»@h/",
            "redis://:«hunter22xyz»@h",
            "https://«tokenonly_hunter22xyz9»@github.com/x",
            "Authorization: Bearer «short12»",
            "Authorization: token «hunter22hunter22xx»",
            "\"Authorization\": \"Basic «aHVudGVyMjI6aHVudGVy»\"",
            "X-Api-Key: «hunter22hunter22xx»",
            "curl -H 'bearer «abcdefGHIJKLMNOP12345»'",
            "GITHUB_TOKEN=«abc123def456»",
            "token = \"«abc123def456»\"",
            "$cfg['db_password'] => '«hunter22xyz»'",
        ] {
            let secret: String = text
                .chars()
                .skip_while(|c| *c != '«')
                .skip(1)
                .take_while(|c| *c != '»')
                .collect();
            let plain = text.replace(['«', '»'], "");
            let expected = text.replace(&format!("«{secret}»"), "[x]");
            assert_eq!(clean(&plain, "[x]"), expected, "{plain}");
        }
    }

    #[test]
    fn ordinary_text_stays() {
        for text in [
            "flask-frontend-7d4b9c6f5d-x2x9k Running",
            "task-definition-production-v12",
            "/dev/disk-encryption-setup-helper",
            "sk-learn-is-not-the-name-of-a-key",
            "max_tokens=4096 tokenize=unicode61 token=true",
            "if(token==NULL) return;",
            "error: unexpected token: foo",
            "basic internationalization and basic authentication",
            "keyboard = no\npath=/a/b\nPWD=/root\nOLDPWD=/srv",
            "password: true\npassword: string\nsecret: null,",
            "PASSWORD=$DB_PASSWORD SECRET=${SECRET} TOKEN=$(cat file)",
            "token = parser.next()\npassword = getpass()",
            "    --password PASSWORD   the password\n    --token <TOKEN>",
            "Enter password: \nwrong password: please try again",
            "http://host:80/path http://[::1]:80/ ssh://git@github.com/x git@github.com:o/r",
            "-----BEGIN CERTIFICATE-----\nMIIabcdefghijklmnopqrstuvwxyz\n-----END CERTIFICATE-----",
            "Authorization: required",
        ] {
            assert_eq!(clean(text, "[x]"), text);
        }
    }

    #[test]
    fn private_keys_are_taken_out_whole_and_cut_short() {
        let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ";
        let begin = "-----BEGIN RSA PRIVATE KEY-----";
        let end = "-----END RSA PRIVATE KEY-----";
        for (text, expected) in [
            (format!("a\n{begin}\n{body}\nab==\n{end}\nb"), "a\n[x]\nb"),
            (
                format!("{begin}\n{body}\n{body}\nls: no such file\n"),
                "[x]\nls: no such file\n",
            ),
            (format!("{begin}\nProc-Type: 4,ENCRYPTED\n\n{body}"), "[x]"),
            (
                format!(r#"{{"private_key": "{begin}\n{body}\n{end}\n", "id": 1}}"#),
                r#"{"private_key": "[x]\n", "id": 1}"#,
            ),
            (
                format!("+{begin}\n+{body}\n+{body}\n context\n"),
                "+[x]\n context\n",
            ),
        ] {
            assert_eq!(clean(&text, "[x]"), expected);
        }
        for open in [
            format!("{begin}\n{body}"),
            format!("{begin}\n{body}\n"),
            format!("{begin}\n{body}\nab=="),
            format!("{begin}\n{body}\nab==\n-----END RS"),
            "-----BEGIN OPENSSH PRIV".to_owned(),
        ] {
            assert_eq!(open_key(&format!("x\n{open}")), Some(2), "{open}");
        }
        for closed in [
            format!("{begin}\n{body}\n{end}\nmore"),
            format!("{begin}\n{body}\nls: no such file\n"),
            "-----BEGIN CERTIFICATE-----\nMII".to_owned(),
        ] {
            assert_eq!(open_key(&closed), None, "{closed}");
        }
    }
}
