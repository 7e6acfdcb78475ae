//! Walks over the tokens of one file; every complaint says what was found, where, and what was
//! expected.

use super::notes::{Note, Place, Placed};
use super::tokens::{Kind, Token, scan};
use std::sync::Arc;

/// A position in a file.
#[derive(Debug)]
pub(super) struct Cursor {
    file: Arc<str>,
    tokens: Vec<Token>,
    at: usize,
}

/// A block that is open: its title, and the line of its brace.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) title: String,
    line: usize,
}

impl Cursor {
    pub(super) fn new(file: Arc<str>, text: &str) -> Self {
        Self { file, tokens: scan(text), at: 0 }
    }

    /// The next token, which stays.
    pub(super) fn peek(&self) -> &Kind {
        &self.token().kind
    }

    fn token(&self) -> &Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    /// The place of the next token.
    pub(super) fn place(&self) -> Place {
        Place { file: Arc::clone(&self.file), line: self.token().line }
    }

    /// The place of the token that was taken last.
    fn place_before(&self) -> Place {
        let line = self.tokens[self.at.saturating_sub(1).min(self.tokens.len() - 1)].line;
        Place { file: Arc::clone(&self.file), line }
    }

    /// Takes the next token if it is `kind`.
    pub(super) fn take_if(&mut self, kind: &Kind) -> bool {
        let is_it = self.peek() == kind;
        if is_it {
            self.at += 1;
        }
        is_it
    }

    /// Takes the next token if it is the keyword `word`.
    pub(super) fn take_word_if(&mut self, word: &str) -> bool {
        let is_it = matches!(self.peek(), Kind::Word(found) if found == word);
        if is_it {
            self.at += 1;
        }
        is_it
    }

    /// The complaint that the next token is not what was expected.
    pub(super) fn wrong(&self, expected: &str) -> Note {
        let found = self.peek();
        let text = if let Kind::Bad(what) = found {
            format!("found {what}")
        } else {
            format!("found {}, expected {expected}", found.shown())
        };
        Note::error(&self.place(), text)
    }

    /// A word or a string.
    pub(super) fn text(&mut self, expected: &str) -> Result<Placed<String>, Note> {
        let (Kind::Word(text) | Kind::Quoted(text)) = self.peek() else {
            return Err(self.wrong(expected));
        };
        let found = Placed::new(text.clone(), self.place());
        self.at += 1;
        Ok(found)
    }

    /// A whole number.
    pub(super) fn number(&mut self, expected: &str) -> Result<Placed<u32>, Note> {
        let number = if let Kind::Word(text) = self.peek() { text.parse().ok() } else { None };
        let number = number.ok_or_else(|| self.wrong(expected))?;
        let found = Placed::new(number, self.place());
        self.at += 1;
        Ok(found)
    }

    /// A sign.
    pub(super) fn expect(&mut self, kind: &Kind, expected: &str) -> Result<(), Note> {
        if self.take_if(kind) { Ok(()) } else { Err(self.wrong(expected)) }
    }

    /// `{` after `title`.
    pub(super) fn open(&mut self, title: &str) -> Result<Block, Note> {
        let line = self.token().line;
        self.expect(&Kind::Open, &format!("'{{' after '{title}'"))?;
        Ok(Block { title: title.to_owned(), line })
    }

    /// `;` after a value. A missing one is reported where it should stand.
    pub(super) fn end_statement(&mut self) -> Result<(), Note> {
        if self.take_if(&Kind::Semicolon) {
            return Ok(());
        }
        let before = self.place_before();
        if before.line == self.token().line || matches!(self.peek(), Kind::Bad(_)) {
            return Err(self.wrong("';'"));
        }
        let last = self.tokens[self.at - 1].kind.shown();
        let found = self.peek().shown();
        let text = format!("found no ';' after {last}, but {found} on line {}", self.token().line);
        Err(Note::error(&before, format!("{text}; expected ';'")))
    }

    /// The keyword that begins the next statement of `block`; none at its end.
    pub(super) fn statement(
        &mut self,
        block: &Block,
        expected: &str,
    ) -> Result<Option<Placed<String>>, Note> {
        let expected = format!("{expected} or '}}'");
        match self.peek() {
            Kind::Close => {
                self.at += 1;
                Ok(None)
            }
            Kind::Word(_) => self.text(&expected).map(Some),
            Kind::End => {
                let text = format!(
                    "found the end of the file inside '{}', whose '{{' on line {} has no '}}'; \
                     expected {expected}",
                    block.title, block.line
                );
                Err(Note::error(&self.place(), text))
            }
            Kind::Quoted(_)
            | Kind::Open
            | Kind::Semicolon
            | Kind::Colon
            | Kind::BracketOpen
            | Kind::BracketClose
            | Kind::Bad(_) => Err(self.wrong(&expected)),
        }
    }

    /// Passes over everything up to the end of the block that comes next, whatever it is.
    pub(super) fn skip_block(&mut self, title: &str) -> Result<(), Note> {
        let begin = self.place();
        let mut depth = 0;
        loop {
            match self.peek() {
                Kind::Open => depth += 1,
                Kind::Close if depth == 0 => {
                    return Err(self.wrong(&format!("'{{' after '{title}'")));
                }
                Kind::Close if depth == 1 => {
                    self.at += 1;
                    return Ok(());
                }
                Kind::Close => depth -= 1,
                Kind::End => {
                    let text =
                        format!("found the end of the file inside '{title}'; expected its '}}'");
                    return Err(Note::error(&begin, text));
                }
                Kind::Word(_)
                | Kind::Quoted(_)
                | Kind::Semicolon
                | Kind::Colon
                | Kind::BracketOpen
                | Kind::BracketClose
                | Kind::Bad(_) => {}
            }
            self.at += 1;
        }
    }

    /// True at the end of the file.
    pub(super) fn at_end(&self) -> bool {
        *self.peek() == Kind::End
    }
}
