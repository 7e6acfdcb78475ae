//! Cuts the text of a drbd.conf into tokens (drbd-facts 5.1); a bad character is one of its own.

/// One token and the line on which it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) line: usize,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword, a number, a path, an address: without quotes.
    Word(String),
    /// A string in double quotes, its escapes resolved.
    Quoted(String),
    /// `{`
    Open,
    /// `}`
    Close,
    /// `;`
    Semicolon,
    /// `:`
    Colon,
    /// `[`
    BracketOpen,
    /// `]`
    BracketClose,
    /// What cannot be a token: what was found, and what was expected.
    Bad(String),
    /// The end of the file.
    End,
}

impl Kind {
    /// The token as a message shows it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Word(word) => format!("'{word}'"),
            Self::Quoted(text) => format!("\"{text}\""),
            Self::Open => "'{'".to_owned(),
            Self::Close => "'}'".to_owned(),
            Self::Semicolon => "';'".to_owned(),
            Self::Colon => "':'".to_owned(),
            Self::BracketOpen => "'['".to_owned(),
            Self::BracketClose => "']'".to_owned(),
            Self::Bad(what) => what.clone(),
            Self::End => "the end of the file".to_owned(),
        }
    }
}

/// Cuts `text`; the last token is [`Kind::End`], on the last line that holds anything.
pub(super) fn scan(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut scanner = Scanner { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1 };
    while let Some(token) = scanner.next() {
        tokens.push(token);
    }
    let line = tokens.last().map_or(1, |token| token.line);
    tokens.push(Token { kind: Kind::End, line });
    tokens
}

struct Scanner<'a> {
    rest: &'a str,
    line: usize,
}

impl Scanner<'_> {
    fn next(&mut self) -> Option<Token> {
        self.skip_blanks();
        let first = self.rest.chars().next()?;
        let line = self.line;
        let kind = match first {
            '{' => self.single(Kind::Open),
            '}' => self.single(Kind::Close),
            ';' => self.single(Kind::Semicolon),
            ':' => self.single(Kind::Colon),
            '[' => self.single(Kind::BracketOpen),
            ']' => self.single(Kind::BracketClose),
            '"' => self.quoted(),
            _ if is_word(first) => {
                let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
                let (word, rest) = self.rest.split_at(end);
                let kind = Kind::Word(word.to_owned());
                self.rest = rest;
                kind
            }
            _ => {
                self.rest = &self.rest[first.len_utf8()..];
                Kind::Bad(complaint(first))
            }
        };
        Some(Token { kind, line })
    }

    fn single(&mut self, kind: Kind) -> Kind {
        self.rest = &self.rest[1..];
        kind
    }

    fn skip_blanks(&mut self) {
        while let Some(first) = self.rest.chars().next() {
            match first {
                '\n' => self.line += 1,
                ' ' | '\t' | '\r' => {}
                '#' => {
                    let end = self.rest.find('\n').unwrap_or(self.rest.len());
                    self.rest = &self.rest[end..];
                    continue;
                }
                _ => return,
            }
            self.rest = &self.rest[1..];
        }
    }

    /// A string ends on its line.
    fn quoted(&mut self) -> Kind {
        let mut text = String::new();
        let mut escaped = false;
        for (at, c) in self.rest.char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => {
                    text.push(c);
                    escaped = false;
                }
                '\\' => escaped = true,
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return string(text);
                }
                _ => text.push(c),
            }
        }
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        self.rest = &self.rest[end..];
        let head: String = text.chars().take(20).collect();
        Kind::Bad(format!("the string \"{head}... without end, expected '\"' on the same line"))
    }
}

fn string(text: String) -> Kind {
    // What was no UTF-8 has become this; a secret or a command must not change on its way.
    if text.contains('\u{fffd}') {
        return Kind::Bad(format!("\"{text}\", which is no UTF-8, expected UTF-8 or ASCII"));
    }
    Kind::Quoted(text)
}

/// The characters of a word without quotes: DRBD's, and `%` for the scope of an IPv6 address.
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/._-%".contains(c)
}

fn complaint(c: char) -> String {
    match c {
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{ab}' | '\u{bb}' => format!(
            "the typographic quote '{c}', expected a plain '\"' on both sides, or no quotes"
        ),
        '\u{2018}' | '\u{2019}' | '\'' | '`' => {
            format!("the quote '{c}', expected a plain '\"' on both sides, or no quotes")
        }
        '\u{2013}' | '\u{2014}' => format!("the dash '{c}', expected a plain '-'"),
        '\u{a0}' | '\u{2007}' | '\u{202f}' => {
            "a no-break space, which looks like a blank, expected a plain blank".to_owned()
        }
        '=' => "'=', expected a blank between a name and its value".to_owned(),
        '\u{fffd}' => "a character that is no UTF-8, expected such in comments only".to_owned(),
        _ if c.is_control() => {
            format!("the control character {:#04x}, expected text", u32::from(c))
        }
        _ => format!("'{c}', expected double quotes around a value with it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Kind> {
        scan(text).into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn words_strings_signs_and_comments() {
        let word = |text: &str| Kind::Word(text.to_owned());
        assert_eq!(
            kinds("a-b_c/d.e { x \"y z\"; } # c } {\n[::1]:7%e\r\n"),
            [
                word("a-b_c/d.e"),
                Kind::Open,
                word("x"),
                Kind::Quoted("y z".to_owned()),
                Kind::Semicolon,
                Kind::Close,
                Kind::BracketOpen,
                Kind::Colon,
                Kind::Colon,
                word("1"),
                Kind::BracketClose,
                Kind::Colon,
                word("7%e"),
                Kind::End,
            ]
        );
        assert_eq!(kinds(r#""a \"b\" \\ #""#)[0], Kind::Quoted(r#"a "b" \ #"#.to_owned()));
    }

    #[test]
    fn newlines_are_blanks_and_are_counted() {
        let lines: Vec<usize> = scan("a\n\n b # x\n;\n\n").iter().map(|t| t.line).collect();
        assert_eq!(lines, [1, 3, 4, 4]);
    }

    #[test]
    fn what_is_no_token_says_what_was_expected() {
        for (text, expected) in [
            ("\u{201c}sha1\u{201d}", "a plain '\"' on both sides"),
            ("'sha1'", "a plain '\"' on both sides"),
            ("no\u{2013}flushes", "a plain '-'"),
            ("a\u{a0}b", "expected a plain blank"),
            ("rate = 3", "a blank between"),
            ("\"abc\n\"", "expected '\"' on the same line"),
            ("\"abc", "without end"),
            ("\"a\u{fffd}\"", "UTF-8"),
            ("a,b", "expected double quotes"),
        ] {
            let bad = kinds(text).into_iter().find(|kind| matches!(kind, Kind::Bad(_)));
            let shown = bad.expect(text).shown();
            assert!(shown.contains(expected), "{text}: {shown}");
        }
    }
}
