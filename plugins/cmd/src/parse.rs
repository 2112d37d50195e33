//! Reads a line after the replacement of `%NAME%`: operators, quotes, carets, redirections, blocks.

use crate::cell::{Cell, OPEN, byte, is, is_delimiter};
use crate::syntax::{Command, Join, List, Redirect, Simple, Stage};

/// How deep blocks, conditions and loops may be nested.
pub(crate) const MAX_DEPTH: usize = 48;

/// Why a line cannot be read.
pub(crate) type ParseError = &'static str;

/// Reads `cells`. What was read before an error comes with it.
pub(crate) fn parse(cells: &[Cell]) -> (List, Option<ParseError>) {
    let mut parser = Parser {
        cells,
        at: 0,
        depth: 0,
        open_blocks: 0,
        open: false,
    };
    let mut list = List::default();
    let error = parser.list(&mut list, false).err();
    (list, error)
}

pub(crate) struct Parser<'a> {
    pub(crate) cells: &'a [Cell],
    pub(crate) at: usize,
    depth: usize,
    open_blocks: usize,
    /// Whether a condition or a set just read has a value outside quotes that is not known.
    pub(crate) open: bool,
}

impl Parser<'_> {
    pub(crate) fn peek(&self) -> u8 {
        self.cells.get(self.at).map_or(0, |c| byte(*c))
    }

    pub(crate) fn at_end(&self) -> bool {
        self.at >= self.cells.len()
    }

    /// Skips delimiters, and carets that join lines.
    pub(crate) fn skip_blank(&mut self) {
        while let Some(cell) = self.cells.get(self.at) {
            if is_delimiter(*cell) || byte(*cell) == b'\r' {
                self.at += 1;
            } else if byte(*cell) == b'^' && is(self.cells.get(self.at + 1), b'\n') {
                self.at += 2;
            } else if byte(*cell) == b'^'
                && is(self.cells.get(self.at + 1), b'\r')
                && is(self.cells.get(self.at + 2), b'\n')
            {
                self.at += 3;
            } else {
                return;
            }
        }
    }

    fn skip_line(&mut self) {
        while !self.at_end() && self.peek() != b'\n' {
            self.at += 1;
        }
    }

    /// Runs `read` one level deeper.
    pub(crate) fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        if self.depth >= MAX_DEPTH {
            return Err("nested too deeply");
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// Reads commands up to the end, or the `)` of the block around them. With `one_line`, the end
    /// of the line ends them too: the rest of the line belongs to an `if` or a `for`.
    pub(crate) fn list(&mut self, list: &mut List, one_line: bool) -> Result<(), ParseError> {
        let mut join = Join::Always;
        loop {
            self.skip_blank();
            match self.peek() {
                b'\n' if one_line => return Ok(()),
                b'\n' => {
                    self.at += 1;
                    continue;
                }
                b')' if self.open_blocks > 0 => return Ok(()),
                b')' => {
                    // Outside a block it is passed over.
                    self.at += 1;
                    continue;
                }
                _ if self.at_end() => return Ok(()),
                b'&' | b'|' => return Err("an operator without a command before it"),
                _ => {}
            }
            let stage = self.stage();
            match stage {
                Ok(stage) => list.0.push((join, stage)),
                Err((partial, error)) => {
                    list.0.extend(partial.map(|stage| (join, stage)));
                    return Err(error);
                }
            }
            self.skip_blank();
            join = self.operator();
        }
    }

    /// The operator between two commands; without one, the next command is on a new line or is none.
    fn operator(&mut self) -> Join {
        let double = self.cells.get(self.at) == self.cells.get(self.at + 1);
        let join = match self.peek() {
            b'&' if double => Join::Success,
            b'|' if double => Join::Failure,
            b'|' => Join::Pipe,
            b'&' => {
                self.at += 1;
                return Join::Always;
            }
            _ => return Join::Always,
        };
        self.at += if join == Join::Pipe { 1 } else { 2 };
        join
    }

    fn stage(&mut self) -> Result<Stage, (Option<Stage>, ParseError)> {
        let mut redirects = Vec::new();
        let result = self.command(&mut redirects);
        match result {
            Ok(command) => Ok(Stage { redirects, command }),
            Err((command, error)) => Err((
                Some(Stage {
                    redirects,
                    command: command.unwrap_or(Command::Nothing),
                }),
                error,
            )),
        }
    }

    fn command(
        &mut self,
        redirects: &mut Vec<Redirect>,
    ) -> Result<Command, (Option<Command>, ParseError)> {
        let plain = |error| (None, error);
        loop {
            self.skip_blank();
            if self.peek() == b'@' {
                self.at += 1;
            } else if !self.redirect(redirects).map_err(plain)? {
                break;
            }
        }
        match self.peek() {
            b'(' => return self.block(redirects),
            b':' => {
                self.skip_line();
                return Ok(Command::Nothing);
            }
            _ => {}
        }
        let mut simple = Simple::default();
        self.name(&mut simple);
        let keyword: Vec<u8> = simple
            .name
            .iter()
            .map(|c| byte(*c).to_ascii_lowercase())
            .collect();
        match keyword.as_slice() {
            b"rem" => {
                self.rem(redirects).map_err(plain)?;
                Ok(Command::Nothing)
            }
            b"if" => self.nested(Self::condition).map_err(plain),
            b"for" => self.nested(Self::repetition).map_err(plain),
            _ => match self.tail(&mut simple, redirects) {
                Ok(()) if simple.name.is_empty() && simple.tail.is_empty() => Ok(Command::Nothing),
                Ok(()) => Ok(Command::Simple(simple)),
                Err(error) => Err((Some(Command::Simple(simple)), error)),
            },
        }
    }

    fn block(
        &mut self,
        redirects: &mut Vec<Redirect>,
    ) -> Result<Command, (Option<Command>, ParseError)> {
        let mut list = List::default();
        let inside = self.nested(|parser| {
            parser.at += 1;
            parser.open_blocks += 1;
            let result = parser.list(&mut list, false);
            parser.open_blocks -= 1;
            result?;
            if parser.peek() != b')' {
                return Err("a block is not closed");
            }
            parser.at += 1;
            Ok(())
        });
        let behind = inside.and_then(|()| {
            loop {
                self.skip_blank();
                if !self.redirect(redirects)? {
                    return Ok(());
                }
            }
        });
        match behind {
            Ok(()) => Ok(Command::Group(list)),
            Err(error) => Err((Some(Command::Group(list)), error)),
        }
    }

    /// Reads a block into a list of its own.
    pub(crate) fn block_alone(&mut self, list: &mut List) -> Result<(), ParseError> {
        let mut redirects = Vec::new();
        let (command, result) = match self.block(&mut redirects) {
            Ok(command) => (Some(command), Ok(())),
            Err((command, error)) => (command, Err(error)),
        };
        if let Some(command) = command {
            list.0.push((Join::Always, Stage { redirects, command }));
        }
        result
    }

    /// A remark runs to the end of the line, but its first word may be a redirection or an operator.
    fn rem(&mut self, redirects: &mut Vec<Redirect>) -> Result<(), ParseError> {
        loop {
            self.skip_blank();
            if !self.redirect(redirects)? {
                break;
            }
        }
        if !matches!(self.peek(), b'&' | b'|') {
            self.skip_line();
        }
        Ok(())
    }

    /// Reads the command's name: up to a delimiter, an operator or the `/` of a glued switch.
    fn name(&mut self, simple: &mut Simple) {
        let mut quoted = false;
        while let Some(&cell) = self.cells.get(self.at) {
            match byte(cell) {
                b'"' => quoted = !quoted,
                b'\n' => return,
                _ if quoted => {}
                b'&' | b'|' | b'<' | b'>' | b'/' | b'(' | b'\r' => return,
                b')' if self.open_blocks > 0 => return,
                b'^' => {
                    self.caret(&mut simple.name);
                    continue;
                }
                _ if is_delimiter(cell) => return,
                _ => simple.open |= cell == OPEN,
            }
            simple.name.push(cell);
            self.at += 1;
        }
    }

    /// `^`: the next character stands for itself; at the end of a line, the line goes on.
    fn caret(&mut self, out: &mut Vec<Cell>) {
        self.at += 1;
        if self.peek() == b'\r' && is(self.cells.get(self.at + 1), b'\n') {
            self.at += 1;
        }
        if self.peek() == b'\n' {
            self.at += 1;
        }
        if let Some(cell) = self.cells.get(self.at) {
            out.push(*cell);
            self.at += 1;
        }
    }

    /// Reads the arguments up to the end of the command.
    fn tail(
        &mut self,
        simple: &mut Simple,
        redirects: &mut Vec<Redirect>,
    ) -> Result<(), ParseError> {
        let mut quoted = false;
        while let Some(&cell) = self.cells.get(self.at) {
            match byte(cell) {
                b'"' => quoted = !quoted,
                b'\n' => break,
                _ if quoted => {}
                b'&' | b'|' => break,
                b')' if self.open_blocks > 0 => break,
                b'<' | b'>' => {
                    drop_handle(&mut simple.tail);
                    self.redirect(redirects)?;
                    // What stands before and behind a redirection are two words.
                    simple.tail.push(Cell::from(b' '));
                    continue;
                }
                b'^' => {
                    self.caret(&mut simple.tail);
                    continue;
                }
                b'\r' => {
                    self.at += 1;
                    continue;
                }
                _ => simple.open |= cell == OPEN,
            }
            simple.tail.push(cell);
            self.at += 1;
        }
        Ok(())
    }

    /// Reads a redirection, where one stands here; the number of a handle may stand before it.
    fn redirect(&mut self, redirects: &mut Vec<Redirect>) -> Result<bool, ParseError> {
        let digit = usize::from(self.peek().is_ascii_digit());
        let Some(sign @ (b'<' | b'>')) = self.cells.get(self.at + digit).map(|c| byte(*c)) else {
            return Ok(false);
        };
        self.at += digit + 1;
        let append = sign == b'>' && self.peek() == b'>';
        self.at += usize::from(append);
        self.skip_blank();
        if self.peek() == b'&' {
            self.at += 1;
            while self.peek().is_ascii_digit() {
                self.at += 1;
            }
            return Ok(true);
        }
        let mut target = Simple::default();
        self.target(&mut target.name);
        if target.name.is_empty() {
            return Err("a redirection without a target");
        }
        if sign == b'>' {
            redirects.push(Redirect {
                append,
                target: target.name,
            });
        }
        Ok(true)
    }

    fn target(&mut self, out: &mut Vec<Cell>) {
        let mut quoted = false;
        while let Some(&cell) = self.cells.get(self.at) {
            match byte(cell) {
                b'"' => quoted = !quoted,
                b'\n' => return,
                _ if quoted => {}
                b'&' | b'|' | b'<' | b'>' | b'\r' => return,
                b')' if self.open_blocks > 0 => return,
                b'^' => {
                    self.caret(out);
                    continue;
                }
                _ if is_delimiter(cell) => return,
                _ => {}
            }
            out.push(cell);
            self.at += 1;
        }
    }
}

/// Takes the number of a handle (`2>`) off what was read of the arguments.
fn drop_handle(tail: &mut Vec<Cell>) {
    let digit = tail.last().is_some_and(|c| byte(*c).is_ascii_digit());
    let alone = tail.len() < 2 || is_delimiter(tail[tail.len() - 2]);
    if digit && alone {
        tail.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{bytes, cells};

    /// A line in a form that shows its structure.
    fn shown(line: &str) -> String {
        let (list, error) = parse(&cells(line.as_bytes()));
        let mut text = show_list(&list);
        if let Some(error) = error {
            text = format!("{text} !{error}");
        }
        text
    }

    fn text(cells: &[Cell]) -> String {
        String::from_utf8(bytes(cells)).unwrap()
    }

    fn show_list(list: &List) -> String {
        let mut out = String::new();
        for (at, (join, stage)) in list.0.iter().enumerate() {
            if at > 0 {
                out.push_str(match join {
                    Join::Always => " & ",
                    Join::Success => " && ",
                    Join::Failure => " || ",
                    Join::Pipe => " | ",
                });
            }
            out.push_str(&match &stage.command {
                Command::Nothing => "nothing".into(),
                Command::Simple(s) => {
                    let words = [s.name.clone(), s.tail.clone()].concat();
                    let words = text(&words);
                    let words: Vec<&str> = words.split_whitespace().collect();
                    format!("<{}>", words.join(" "))
                }
                Command::Group(list) => format!("({})", show_list(list)),
                Command::If(branches) => {
                    let then = show_list(&branches.then);
                    match &branches.otherwise {
                        None => format!("if [{then}]"),
                        Some(list) => format!("if [{then}] else [{}]", show_list(list)),
                    }
                }
                Command::For(f) => format!(
                    "for {} in [{}] [{}]",
                    f.variable as char,
                    text(&f.set),
                    show_list(&f.body)
                ),
            });
            for redirect in &stage.redirects {
                let sign = if redirect.append { ">>" } else { ">" };
                out.push_str(&format!("{sign}{}", text(&redirect.target)));
            }
        }
        out
    }

    #[test]
    fn operators_quotes_and_carets() {
        for (line, expected) in [
            ("a & b && c || d | e", "<a> & <b> && <c> || <d> | <e>"),
            ("echo a^&b", "<echo a&b>"),
            ("echo \"a&b^\"", "<echo \"a&b^\">"),
            ("echo ^\"a & b", "<echo \"a> & <b>"),
            ("a ^\n b", "<a b>"),
            ("a\nb", "<a> & <b>"),
            ("@@a", "<a>"),
            ("rem a & b\nc", "nothing & <c>"),
            ("rem & b", "nothing & <b>"),
            (":: a & b\n:c\nd", "nothing & nothing & <d>"),
            ("del/q x", "<del/q x>"),
            ("(a & (b)) && c", "(<a> & (<b>)) && <c>"),
            ("echo (a)", "<echo (a)>"),
            ("(echo a)", "(<echo a>)"),
            ("", ""),
            (")", ""),
        ] {
            assert_eq!(shown(line), expected, "{line}");
        }
    }

    #[test]
    fn redirections_stand_anywhere() {
        for (line, expected) in [
            ("echo a>b", "<echo a>>b"),
            ("echo a >> \"b c\" d", "<echo a d>>>\"b c\""),
            ("> b echo a", "<echo a>>b"),
            ("a 2>&1 >b", "<a>>b"),
            ("a 1>b 2>c", "<a>>b>c"),
            ("a x1>b", "<a x1>>b"),
            ("a<b", "<a>"),
            ("(a)>b 2>>c", "(<a>)>b>>c"),
            ("rem >b x & y", "nothing>b"),
            (">b", "nothing>b"),
        ] {
            assert_eq!(shown(line), expected, "{line}");
        }
    }

    #[test]
    fn conditions() {
        for (line, expected) in [
            ("if exist \"a b\" del a & b", "if [<del a> & <b>]"),
            ("if not exist a (b) else (c)", "if [(<b>)] else [(<c>)]"),
            ("if a==b c", "if [<c>]"),
            ("if /i \"a b\" == \"c\" d", "if [<d>]"),
            ("if 1 EQU 2 c", "if [<c>]"),
            ("if errorlevel 1 c", "if [<c>]"),
            ("if defined X (c) & d", "if [(<c>)] & <d>"),
            (
                "if a==b (c) else if d==e (f) else g",
                "if [(<c>)] else [if [(<f>)] else [<g>]]",
            ),
            ("if (%x)==() c", "if [<c>]"),
            ("if a==b c else d", "if [<c else d>]"),
            ("(if a==b c\nd)", "(if [<c>] & <d>)"),
        ] {
            assert_eq!(shown(line), expected, "{line}");
        }
    }

    #[test]
    fn loops() {
        for (line, expected) in [
            (
                "for %f in (a b) do c %f & d",
                "for f in [a b] [<c %f> & <d>]",
            ),
            (
                "for /r \"x y\" %f in (*.c) do (c) & d",
                "for f in [*.c] [(<c>)] & <d>",
            ),
            (
                "for /f \"delims=\" %f in ('a ^| b') do c",
                "for f in ['a | b'] [<c>]",
            ),
            ("for /d /r . %f in (bin) do @c", "for f in [bin] [<c>]"),
        ] {
            assert_eq!(shown(line), expected, "{line}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for line in ["a &&& b", "| a", "(a", "a >", "if", "for %f in", "if a==b"] {
            assert!(shown(line).contains('!'), "{line}: {}", shown(line));
        }
    }
}
