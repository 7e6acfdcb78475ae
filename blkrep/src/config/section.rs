//! Reads one table of a configuration file and knows, for every complaint, on which line it stands.

use super::error::{ConfigError, Problem};
use super::units::{SIZE_FORM, TIME_FORM, parse_size, parse_time};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Keys that are as different as this from what was written are not offered as the one that was
/// meant.
const NEAREST_DISTANCE_MAX: usize = 4;

/// A file's text and name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) file: &'a Path,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// Line of the byte at `offset`, from 1 on.
    pub(super) fn line(&self, offset: usize) -> usize {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    pub(super) fn error(&self, line: usize, problem: Problem) -> ConfigError {
        ConfigError::Invalid { file: self.file.to_owned(), line, problem }
    }
}

/// A value with the line it stands on.
#[derive(Debug, Clone)]
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) line: usize,
}

/// One table. Invariant: every key in it is one of those it was opened with.
#[derive(Debug)]
pub(super) struct Section<'a> {
    source: Source<'a>,
    title: String,
    line: usize,
    table: Option<&'a DeTable<'a>>,
}

impl<'a> Section<'a> {
    /// The top of the file.
    pub(super) fn top(
        source: Source<'a>,
        table: &'a DeTable<'a>,
        keys: &[&str],
    ) -> Result<Self, ConfigError> {
        let section = Self { source, title: "the file".to_owned(), line: 1, table: Some(table) };
        section.check_keys(keys)?;
        Ok(section)
    }

    /// The table `name` inside this one; an empty one when it is not there.
    pub(super) fn open(&self, name: &str, keys: &[&str]) -> Result<Self, ConfigError> {
        let Some((key, value)) = self.entry(name) else {
            let title = format!("[{name}]");
            return Ok(Self { source: self.source, title, line: self.line, table: None });
        };
        let section = self.subtable(name, key, value, format!("[{name}]"))?;
        section.check_keys(keys)?;
        Ok(section)
    }

    /// Every table inside the table `name`, in the order of the file, with its name.
    pub(super) fn open_each(
        &self,
        name: &str,
        keys: &[&str],
    ) -> Result<Vec<(String, Self)>, ConfigError> {
        let Some((key, value)) = self.entry(name) else { return Ok(Vec::new()) };
        let parent = self.subtable(name, key, value, format!("[{name}]"))?;
        let mut found = Vec::new();
        for (key, value) in parent.table.into_iter().flatten() {
            let inner = key.get_ref().to_string();
            let section = parent.subtable(&inner, key, value, format!("[{name}.{inner}]"))?;
            section.check_keys(keys)?;
            found.push((inner, section));
        }
        found.sort_by_key(|(_, section)| section.line);
        Ok(found)
    }

    fn subtable(
        &self,
        name: &str,
        key: &Spanned<toml::de::DeString<'_>>,
        value: &'a Spanned<DeValue<'a>>,
        title: String,
    ) -> Result<Self, ConfigError> {
        let line = self.source.line(key.span().start);
        let Some(table) = value.get_ref().as_table() else {
            let found = describe(value.get_ref());
            let expected = format!("a table, {title}");
            let problem = Problem::BadValue { key: name.to_owned(), found, expected };
            return Err(self.source.error(line, problem));
        };
        Ok(Self { source: self.source, title, line, table: Some(table) })
    }

    /// Title as in the file, for messages.
    pub(super) fn title(&self) -> &str {
        &self.title
    }

    /// Line on which the table begins.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    pub(super) fn error(&self, line: usize, problem: Problem) -> ConfigError {
        self.source.error(line, problem)
    }

    /// The error that `key` must be there.
    pub(super) fn missing(&self, key: &'static str, example: &'static str) -> ConfigError {
        self.error(self.line, Problem::MissingKey { table: self.title.clone(), key, example })
    }

    /// The error that `key` has a value of a wrong form.
    pub(super) fn bad(&self, key: &str, line: usize, found: &str, expected: &str) -> ConfigError {
        let (key, found, expected) = (key.to_owned(), found.to_owned(), expected.to_owned());
        self.error(line, Problem::BadValue { key, found, expected })
    }

    /// A string.
    pub(super) fn text(
        &self,
        key: &str,
        expected: &str,
    ) -> Result<Option<Found<String>>, ConfigError> {
        self.read(key, expected, |value| value.as_str().map(str::to_owned))
    }

    /// One of a few words.
    pub(super) fn choice<W: AsRef<str>, T: Clone>(
        &self,
        key: &str,
        words: &[(W, T)],
    ) -> Result<Option<Found<T>>, ConfigError> {
        let quoted: Vec<String> =
            words.iter().map(|(word, _)| format!("\"{}\"", word.as_ref())).collect();
        let expected = match quoted.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, others)) => format!("one of {} and {last}", others.join(", ")),
            None => String::new(),
        };
        self.read(key, &expected, |value| {
            let written = value.as_str()?;
            let found = words.iter().find(|(word, _)| word.as_ref() == written);
            found.map(|(_, value)| value.clone())
        })
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self, key: &str) -> Result<Option<Found<bool>>, ConfigError> {
        self.read(key, "true or false, without quotes", DeValue::as_bool)
    }

    /// A plain number without unit, inside `range`.
    pub(super) fn count(
        &self,
        key: &str,
        range: RangeInclusive<u32>,
    ) -> Result<Option<Found<u32>>, ConfigError> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.read(key, &expected, |value| {
            let number = value.as_integer()?;
            let number = u32::from_str_radix(number.as_str(), number.radix()).ok()?;
            range.contains(&number).then_some(number)
        })
    }

    /// A size in bytes, inside `range`; the ends of the range are given in words.
    pub(super) fn size(
        &self,
        key: &str,
        range: RangeInclusive<u64>,
        range_words: &str,
    ) -> Result<Option<Found<u64>>, ConfigError> {
        let expected = format!("{SIZE_FORM}, {range_words}");
        self.read(key, &expected, |value| {
            parse_size(value.as_str()?).filter(|size| range.contains(size))
        })
    }

    /// A time, inside `range`; the ends of the range are given in words.
    pub(super) fn time(
        &self,
        key: &str,
        range: RangeInclusive<Duration>,
        range_words: &str,
    ) -> Result<Option<Found<Duration>>, ConfigError> {
        let expected = format!("{TIME_FORM}, {range_words}");
        self.read(key, &expected, |value| {
            parse_time(value.as_str()?).filter(|time| range.contains(time))
        })
    }

    /// An absolute path: the daemon does not run in the directory of whoever starts it.
    pub(super) fn path(&self, key: &str) -> Result<Option<Found<PathBuf>>, ConfigError> {
        self.read(key, "an absolute path in quotes", |value| {
            Some(PathBuf::from(value.as_str()?)).filter(|path| path.is_absolute())
        })
    }

    fn read<T>(
        &self,
        key: &str,
        expected: &str,
        convert: impl FnOnce(&DeValue<'a>) -> Option<T>,
    ) -> Result<Option<Found<T>>, ConfigError> {
        let Some((_, value)) = self.entry(key) else { return Ok(None) };
        let line = self.source.line(value.span().start);
        match convert(value.get_ref()) {
            Some(value) => Ok(Some(Found { value, line })),
            None => Err(self.bad(key, line, &describe(value.get_ref()), expected)),
        }
    }

    fn entry(
        &self,
        key: &str,
    ) -> Option<(&'a Spanned<toml::de::DeString<'a>>, &'a Spanned<DeValue<'a>>)> {
        self.table?.iter().find(|(name, _)| name.get_ref() == key)
    }

    fn check_keys(&self, valid: &[&str]) -> Result<(), ConfigError> {
        for (key, _) in self.table.into_iter().flatten() {
            let written: &str = key.get_ref();
            if !valid.contains(&written) {
                let problem = Problem::UnknownKey {
                    key: written.to_owned(),
                    table: self.title.clone(),
                    hint: nearest(written, valid),
                };
                return Err(self.error(self.source.line(key.span().start), problem));
            }
        }
        Ok(())
    }
}

fn nearest(written: &str, valid: &[&str]) -> String {
    let distance = |key: &&&str| strsim::damerau_levenshtein(written, key);
    let best =
        valid.iter().min_by_key(distance).filter(|key| distance(key) <= NEAREST_DISTANCE_MAX);
    match best {
        Some(key) => format!("did you mean '{key}'?"),
        None => format!("the valid keys are: {}", valid.join(", ")),
    }
}

fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("\"{text}\""),
        DeValue::Integer(number) => format!("the bare number {}", number.as_str()),
        DeValue::Float(number) => format!("the bare number {}", number.as_str()),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
