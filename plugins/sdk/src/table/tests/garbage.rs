//! No input makes the engine panic.

use proptest::prelude::*;

use super::*;

fn arg() -> impl Strategy<Value = Arg> {
    let known = prop_oneof![
        Just(Known::Whole),
        Just(Known::Beginning),
        Just(Known::Several),
        Just(Known::Pattern),
    ];
    let text = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..12),
        "[-/a-zA-Z:=*.~#]{0,8}".prop_map(String::into_bytes),
        proptest::sample::select(vec!["--", "-", "-rf", "dir", "..", "/", "/s/q", "-Path:"])
            .prop_map(|text| text.as_bytes().to_vec()),
    ];
    (text, known).prop_map(|(text, known)| Arg { text, known })
}

/// Rules of every style, without what only another style can read.
fn tables() -> Vec<Table> {
    let rules = RULES.replace("style = \"single\"", "");
    let of = |rules: &str, style| Table::parse("rules.toml", rules, style).unwrap();
    vec![
        of(&rules, ArgStyle::Posix),
        of(&rules, ArgStyle::Strict),
        of(&rules, ArgStyle::Single),
        of(slash::RULES, ArgStyle::Slash),
        of(named::RULES, ArgStyle::Named),
    ]
}

proptest! {
    #[test]
    fn of_a_call(args in proptest::collection::vec(arg(), 0..8), known_cwd in any::<bool>()) {
        let lists: Vec<Vec<Arg>> = args.chunks(2).map(<[Arg]>::to_vec).collect();
        for (table, style) in tables().iter().zip([Style::Unix, Style::Windows].iter().cycle()) {
            let place = Place {
                style: *style,
                cwd: known_cwd.then_some(b"/srv/app".as_slice()),
                home: None,
                variable: &|_| None,
                view: &view(),
            };
            for name in table.names() {
                let rule = table.rule(name.as_bytes()).unwrap();
                let found = rule.apply(name, &args, &place, &Handlers::new());
                prop_assert!(found.paths.iter().all(|path| style.is_absolute(&path.path)));
                rule.apply_lists(name, &lists, &place, &Handlers::new());
            }
        }
    }

    /// An argument that may be an option is never passed over where paths are changed.
    #[test]
    fn what_may_be_an_option_is_told(before in 0..3_usize, name in proptest::sample::select(vec!["rm", "cp", "sed", "chmod", "sort"])) {
        let mut line = vec![Arg::whole(name)];
        line.extend((0..before).map(|_| Arg::whole("a.txt")));
        line.push(Arg { text: Vec::new(), known: Known::Several });
        prop_assert!(!outcome_in(Some("/srv/app"), &line).unclear.is_empty());
    }

    #[test]
    fn of_a_file(text in "(\\[[a-c.\"-]{0,6}\\]\n|[a-z_]{1,8} = ([\"\\[\\]{}a-z=.$^~-]{0,12})\n|same = \\[\"x\"\\]\n|touch = \\[\\{ path = \"[$^{}:~a-z-]{0,8}\" \\}\\]\n){0,8}") {
        let _ = Table::parse("r.toml", &text, ArgStyle::Posix);
        let text: &'static str = Box::leak(text.into_boxed_str());
        if let Ok(table) = Table::embedded(&[("r.toml", text)], ArgStyle::Slash) {
            let _ = table.check(&Handlers::new());
        }
    }

    #[test]
    fn of_an_option(text in "\\PC{0,20}") {
        let _ = OptionSpec::parse(&text);
        let _ = crate::table::operands::parse(&text);
        let _ = crate::table::touch::check(&text);
    }
}

#[test]
fn of_very_many_arguments() {
    let mut line = vec![Arg::whole("cp")];
    line.extend((0..20_000).map(|n| Arg {
        text: b"-a".to_vec(),
        known: if n % 2 == 0 {
            Known::Several
        } else {
            Known::Whole
        },
    }));
    assert!(outcome_in(Some("/srv/app"), &line).unclear.len() < 100);
    let mut line = vec![Arg::whole("rm")];
    line.resize(
        20_000,
        Arg {
            text: b"dir/x".to_vec(),
            known: Known::Several,
        },
    );
    assert!(outcome_in(Some("/srv/app"), &line).unclear.len() < 100);
}
