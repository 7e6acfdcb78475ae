//! A configuration file that is being written: each line knows the line of drbd.conf that it comes
//! from, so that a complaint of blkrep's own parser is one about drbd.conf.

use super::notes::{Note, Place};
use super::options::Table;
use crate::config::{ConfigError, Problem, parse};
use std::path::Path;

/// A line, and where it comes from.
#[derive(Debug, Clone)]
struct Line {
    text: String,
    place: Place,
}

/// The file of one resource.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) name: String,
    place: Place,
    tables: [Vec<Line>; Table::ALL.len()],
    nodes: Vec<Line>,
    /// The secret, when it is taken over, and where it stands.
    pub(super) secret: Option<(String, Place)>,
}

impl Draft {
    pub(super) fn new(name: String, place: Place) -> Self {
        let tables = std::array::from_fn(|_| Vec::new());
        Self { name, place, tables, nodes: Vec::new(), secret: None }
    }

    /// `key = value` in a table, in its notation.
    pub(super) fn set(&mut self, table: Table, key: &str, value: &str, place: &Place) {
        let text = format!("{key} = {value}");
        self.tables[table as usize].push(Line { text, place: place.clone() });
    }

    /// True if `key` is set.
    pub(super) fn has(&self, table: Table, key: &str) -> bool {
        let begin = format!("{key} = ");
        self.tables[table as usize].iter().any(|line| line.text.starts_with(&begin))
    }

    /// Begins the table of a node; what is set next is in it.
    pub(super) fn begin_node(&mut self, name: &str, place: &Place) {
        // The name is quoted when a dot in it would open another table.
        let is_bare = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        let name = if is_bare { name.to_owned() } else { quote(name) };
        self.nodes.push(Line { text: String::new(), place: place.clone() });
        self.nodes.push(Line { text: format!("[node.{name}]"), place: place.clone() });
    }

    /// `key = value` in the table of the node that was begun last.
    pub(super) fn set_in_node(&mut self, key: &str, value: &str, place: &Place) {
        self.nodes.push(Line { text: format!("{key} = {value}"), place: place.clone() });
    }

    /// The file, below `heading`, whose lines become comments.
    pub(super) fn text(&self, heading: &[String]) -> String {
        let comments = heading.iter().map(|line| format!("# {}\n", comment(line)));
        comments.chain(self.lines().iter().map(|line| format!("{}\n", line.text))).collect()
    }

    fn lines(&self) -> Vec<Line> {
        let own = |text: String| Line { text, place: self.place.clone() };
        let mut lines = vec![own(format!("name = {}", quote(&self.name)))];
        for table in Table::ALL {
            let content = &self.tables[table as usize];
            if !content.is_empty() {
                lines.extend([own(String::new()), own(format!("[{}]", table.name()))]);
                lines.extend_from_slice(content);
            }
        }
        lines.extend_from_slice(&self.nodes);
        lines
    }

    /// Has blkrep's parser read the file; its complaint is one about the line of drbd.conf.
    pub(super) fn check(&self) -> Result<(), Note> {
        let file = format!("{}.toml", self.name);
        let error = match parse(Path::new(&file), &self.text(&[])) {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let ConfigError::Invalid { file: _, line, problem } = error else {
            return Err(Note::error(&self.place, format!("blkrep would refuse this: {error}")));
        };
        let lines = self.lines();
        // It is said about the table of handlers, which has no line for it.
        let named = if let Problem::HandlerMissing { key, value: _, handler: _ } = &problem {
            let begin = format!("{key} = ");
            lines.iter().find(|line| line.text.starts_with(&begin))
        } else {
            None
        };
        let line = named.or_else(|| lines.get(line - 1));
        let place = line.map_or(&self.place, |line| &line.place);
        let text = format!("blkrep would refuse this in {file}: {problem}");
        Err(Note::error(place, text))
    }
}

/// A string in TOML.
pub(super) fn quote(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// What a comment may hold: no control characters.
fn comment(line: &str) -> String {
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
