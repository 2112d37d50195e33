//! Lines that nobody writes: one piece of syntax over and over.

/// How long each line is, in bytes.
const LENGTH: usize = 64 * 1024;

/// For each shell what is repeated.
pub(crate) const PIECES: [(&str, &[&str]); 3] =
    [("bash", &BASH), ("cmd", &CMD), ("powershell", &POWERSHELL)];

const BASH: [&str; 44] = [
    "(",
    "$(",
    "\"$(",
    "$((",
    "((",
    "<(",
    ">(",
    "`",
    "\\`",
    "${a:-",
    "${a:-\"",
    "{ ",
    "{a,",
    "{a,b}",
    "'",
    "\"",
    "$'",
    "$\"",
    "[[ ",
    "[[ ( ",
    "if ",
    "if a; then ",
    "while ",
    "for a in b; do ",
    "case x in a) ",
    "<<A\n",
    "<<A $(",
    "f() { ",
    "function f { ",
    "a|",
    "a&&",
    "a||",
    "! ",
    "a;",
    "a&",
    ">",
    ">&",
    "\\",
    "$",
    "*/",
    "{1..9}",
    "~/",
    "a=(",
    "eval 'eval ",
];

const CMD: [&str; 22] = [
    "(",
    "((",
    "^",
    "^^\n",
    "\"",
    "%",
    "%a%",
    "!a!",
    "if 1==1 ",
    "if 1==1 (",
    "for %i in (",
    "for %i in (a) do ",
    "&",
    "&&",
    "|",
    "||",
    ">",
    "2>&1 ",
    "@",
    "cmd /c ",
    "*\\",
    "%~a",
];

const POWERSHELL: [&str; 28] = [
    "(",
    "{",
    "$(",
    "@(",
    "@{a=",
    "\"$(",
    "@'\n",
    "@\"\n",
    "[",
    "[a[",
    "if(1){",
    "foreach($a in ",
    "switch(1){",
    "try{",
    "function f{",
    ",",
    "|",
    ";",
    "`",
    "&{",
    "-",
    "a.",
    "$a.b(",
    "${",
    "'",
    "\"",
    "# ",
    "1..",
];

/// The piece over and over; the same after a command, and closed again as far as it can be.
pub(crate) fn lines(piece: &str) -> Vec<String> {
    let open = piece.repeat(LENGTH / piece.len());
    let half = piece.repeat(LENGTH / piece.len() / 2);
    let closing: String = half.chars().rev().filter_map(closes).collect();
    vec![
        open.clone(),
        format!("rm -rf x {open}"),
        format!("{half}a{closing}"),
    ]
}

fn closes(open: char) -> Option<char> {
    match open {
        '(' => Some(')'),
        '{' => Some('}'),
        '[' => Some(']'),
        '"' | '\'' | '`' | '%' | '!' => Some(open),
        _ => None,
    }
}
