//! What is read, in a short form.

use super::ast::{Argument, Block, ElementKind, Expr, Part, StatementKind};
use super::parse;

/// The commands of a line: names, arguments, redirections; `!` where it could not be read.
fn read(line: &str) -> String {
    block(&parse(line.as_bytes()).body)
}

fn block(body: &Block) -> String {
    let statements = body.iter().map(|statement| match &statement.what {
        StatementKind::Chain { pipelines, .. } => {
            let chained = pipelines.iter().map(|pipeline| {
                let elements = pipeline.elements.iter().map(|element| {
                    let mut text = match &element.what {
                        ElementKind::Expression(e) => expression(e),
                        ElementKind::Command(c) => {
                            let mut words = vec![expression(&c.name)];
                            words.extend(c.arguments.iter().map(argument));
                            words.join(" ")
                        }
                    };
                    for r in &element.redirections {
                        text += if r.append { " >>" } else { " >" };
                        text += &expression(&r.target);
                    }
                    text
                });
                elements.collect::<Vec<_>>().join(" | ")
            });
            chained.collect::<Vec<_>>().join(" && ")
        }
        StatementKind::Opaque(_) => "!".into(),
        StatementKind::Assign { target, value, .. } => {
            let value = block(&vec![(**value).clone()]);
            format!("{} = {value}", expression(target))
        }
        other => format!("{other:?}")
            .split([' ', '(', '{'])
            .next()
            .unwrap_or("")
            .into(),
    });
    statements.collect::<Vec<String>>().join("; ")
}

fn argument(argument: &Argument) -> String {
    match argument {
        Argument::Parameter { name, value } => {
            let name = String::from_utf8_lossy(name);
            match value {
                Some(value) => format!("-{name}:{}", expression(value)),
                None => format!("-{name}"),
            }
        }
        Argument::Value(value) => expression(value),
        Argument::Verbatim(text) => format!("--%{}", String::from_utf8_lossy(text)),
    }
}

fn expression(value: &Expr) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match value {
        Expr::Word(parts) => parts.iter().map(part).collect(),
        Expr::Text(parts) => format!("'{}'", parts.iter().map(part).collect::<String>()),
        Expr::Number(number) => text(number),
        Expr::Variable(name) => format!("${}", text(name)),
        Expr::Splat(name) => format!("@{}", text(name)),
        Expr::Paren(statement) => format!("({})", block(&vec![(**statement).clone()])),
        Expr::Statements(body) => format!("$({})", block(body)),
        Expr::Array(body) => format!("@({})", block(body)),
        Expr::Script(script) => format!("{{{}}}", block(&script.body)),
        Expr::Type(name) => format!("[{}]", text(name)),
        Expr::Cast(name, value) => format!("[{}]{}", text(name), expression(value)),
        Expr::Unary(operator, value) => format!("{}({})", text(operator), expression(value)),
        Expr::Binary(left, operator, right) => {
            format!(
                "({} {} {})",
                expression(left),
                text(operator),
                expression(right)
            )
        }
        Expr::Comma(values) => {
            let values: Vec<String> = values.iter().map(expression).collect();
            format!("[{}]", values.join(","))
        }
        Expr::Member { object, name, .. } => format!("{}.{}", expression(object), expression(name)),
        Expr::Invoke {
            object,
            name,
            arguments,
            ..
        } => {
            let arguments: Vec<String> = arguments.iter().map(expression).collect();
            format!(
                "{}.{}({})",
                expression(object),
                expression(name),
                arguments.join(",")
            )
        }
        Expr::Index(object, index) => format!("{}[{}]", expression(object), expression(index)),
        other => format!("{other:?}")
            .split('(')
            .next()
            .unwrap_or("")
            .to_lowercase(),
    }
}

fn part(part: &Part) -> String {
    match part {
        Part::Text(text) => String::from_utf8_lossy(text).into_owned(),
        Part::Value(value) => format!("<{}>", expression(value)),
    }
}

#[test]
fn words_end_where_the_shell_ends_them() {
    for (line, expected) in [
        ("echo a>b.txt", "echo a >b.txt"),
        ("dotnet build 1>log.txt", "dotnet build >log.txt"),
        ("gc a 2>$null >> out", "gc a >$null >>out"),
        ("rm a 2>&1 | oh", "rm a | oh"),
        ("rm $x\\foo", "rm <$x>\\foo"),
        ("rm $x.Name", "rm $x.Name"),
        ("rm $x[0]", "rm $x[0]"),
        ("rm \"a\"b", "rm 'a' b"),
        ("rm a\"b c\"d", "rm ab cd"),
        ("rm a,b -r", "rm [a,b] -r"),
        ("rm a , b", "rm [a,b]"),
        ("rm a#b # c", "rm a#b"),
        ("rm a`\nb", "rm a b"),
        ("rm a` b", "rm a b"),
        ("ri a;md b", "ri a; md b"),
        ("rm [ab].txt", "rm [ab].txt"),
        ("7z x a.zip", "7z x a.zip"),
        ("cmd /c \"a b\"", "cmd /c 'a b'"),
        (
            "icacls --% C:\\x /grant a:(F) | oh",
            "icacls --% C:\\x /grant a:(F)  | oh",
        ),
        ("rm -Path:$x -Recurse:$false", "rm -Path:$x -Recurse:$false"),
        ("rm -Path: x", "rm -Path:x"),
        ("gcc -o\"x y\"", "gcc -ox y"),
        ("git commit --amend -m 'x'", "git commit --amend -m 'x'"),
        ("rm <# no #> a", "rm a"),
        ("& 'C:\\a b.exe' /S", "'C:\\a b.exe' /S"),
        (".\\x.ps1 -a", ".\\x.ps1 -a"),
        ("rm @args", "rm @args"),
        ("rm (Join-Path $a b)", "rm (Join-Path $a b)"),
    ] {
        assert_eq!(read(line), expected, "{line}");
    }
}

#[test]
fn expressions_are_told_from_commands() {
    for (line, expected) in [
        ("1..3 | % { ni $_ }", "(1 .. 3) | % {ni $_}"),
        ("$x = 5 + 3", "$x = (5 + 3)"),
        ("$x = rm a", "$x = rm a"),
        ("$a,$b = 1,2", "[$a,$b] = [1,2]"),
        ("[int]$x = '5'", "[int]$x = '5'"),
        ("[IO.File]::Delete('x')", "[IO.File].Delete('x')"),
        ("(gi a).Delete()", "(gi a).Delete()"),
        ("\"a$(rm b)c\" > d", "'a<$(rm b)>c' >d"),
        (
            "'a' -replace 'b','c' | sc d",
            "('a' replace ['b','c']) | sc d",
        ),
        ("!$x -and $y", "(!($x) and $y)"),
        ("$x.Where({ $_ }).Count", "$x.Where({$_}).Count"),
        (
            "gci|?{$_.Length -gt 5}|ri -WhatIf:$false",
            "gci | ? {($_.Length gt 5)} | ri -WhatIf:$false",
        ),
        ("\"x: $($a.b[0]) $env:X\"", "'x: <$($a.b[0])> <$env:X>'"),
        ("a && b || c", "a && b && c"),
        ("@'\na'b\n'@ | sc x", "'a'b' | sc x"),
    ] {
        assert_eq!(read(line), expected, "{line}");
    }
}

#[test]
fn what_cannot_be_read_stands_beside_what_can() {
    for (line, expected) in [
        ("rm a; rm (b; rm c", "rm a; !; b; rm c"),
        ("rm 'a", "!"),
        ("class A { }; rm b", "!; !; rm b"),
        (")", "!"),
        ("rm a < b\nrm c", "!; rm c"),
        ("process a; clean b", "process a; clean b"),
    ] {
        assert_eq!(read(line), expected, "{line}");
    }
}

#[test]
fn depth_and_length_are_bounded() {
    for piece in [
        "(", "$(", "{", "\"$(", "@(", "a|", "a;", "-", "!", "[", "if(", ".a", "$x.a", "1+", "a,",
        "`", "\"", "'", "@'\n",
    ] {
        let line = piece.repeat(65_536 / piece.len());
        let body = parse(line.as_bytes()).body;
        assert!(body.len() < 10_000, "{piece}");
    }
}
