//! Tables of the file, read key by key: what is asked for is known, the rest is a mistake. Nothing here knows what keys mean.

use roadstead_model::mistake::meant;
use std::cell::RefCell;
use std::fmt::Display;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Collects mistakes by their place in the text.
#[derive(Default)]
pub(super) struct Reader {
    mistakes: RefCell<Vec<(usize, String)>>,
    /// Every key that was asked for, by table: the reference of the format is held against it.
    #[cfg(test)]
    pub(super) asked: RefCell<std::collections::BTreeSet<(String, &'static str)>>,
}

impl Reader {
    pub(super) fn mistake(&self, at: usize, what: impl Into<String>) {
        self.mistakes.borrow_mut().push((at, what.into()));
    }

    pub(super) fn into_mistakes(self) -> Vec<(usize, String)> {
        self.mistakes.into_inner()
    }
}

/// A value and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    pub(super) at: usize,
    value: &'a DeValue<'a>,
}

/// A table that is being read.
pub(super) struct Table<'a> {
    pub(super) reader: &'a Reader,
    /// Where it begins.
    pub(super) at: usize,
    /// As people call it: `[services.web]`.
    pub(super) name: String,
    table: &'a DeTable<'a>,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Table<'a> {
    pub(super) fn root(reader: &'a Reader, table: &'a Spanned<DeTable<'a>>) -> Self {
        Self { reader, at: 0, name: "the file".to_owned(), table: table.get_ref(), known: RefCell::default() }
    }

    fn below(&self, value: Value<'a>, name: String) -> Option<Self> {
        match value.value {
            DeValue::Table(table) => Some(Self { reader: self.reader, at: value.at, name, table, known: RefCell::default() }),
            _ => self.wrong(value, &name, "a table"),
        }
    }

    fn wrong<T>(&self, value: Value<'_>, name: &str, wanted: &str) -> Option<T> {
        self.reader.mistake(value.at, format!("{name} is to be {wanted}, not {}", kind(value.value)));
        None
    }

    /// The value of a key, if it is there. From now on the key is known.
    pub(super) fn value(&self, key: &'static str) -> Option<Value<'a>> {
        self.known.borrow_mut().push(key);
        self.table.get(key).map(|value| Value { at: value.span().start, value: value.get_ref() })
    }

    /// A text.
    pub(super) fn text(&self, key: &'static str) -> Option<(usize, &'a str)> {
        let value = self.value(key)?;
        match value.value {
            DeValue::String(text) => Some((value.at, text)),
            _ => self.wrong(value, key, "a text in quotes"),
        }
    }

    /// A text that has to be there.
    pub(super) fn needed(&self, key: &'static str, such_as: &str) -> Option<(usize, &'a str)> {
        if !self.table.contains_key(key) {
            self.reader.mistake(self.at, format!("{} needs {key}, such as {key} = \"{such_as}\"", self.name));
        }
        self.text(key)
    }

    /// A text, understood by `parse`.
    pub(super) fn parsed<T, E: Display>(&self, key: &'static str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let (at, text) = self.text(key)?;
        parse(text).map_err(|error| self.reader.mistake(at, format!("{key}: {error}"))).ok()
    }

    /// A whole number within bounds.
    pub(super) fn number(&self, key: &'static str, least: u32, most: u32) -> Option<u32> {
        let value = self.value(key)?;
        let DeValue::Integer(integer) = value.value else { return self.wrong(value, key, "a whole number") };
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok().and_then(|number| u32::try_from(number).ok());
        match number.filter(|number| (least..=most).contains(number)) {
            Some(number) => Some(number),
            None => {
                self.reader.mistake(value.at, format!("{key} is to be between {least} and {most}"));
                None
            }
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        match value.value {
            DeValue::Boolean(flag) => Some(*flag),
            _ => self.wrong(value, key, "true or false"),
        }
    }

    /// A list of texts.
    pub(super) fn list(&self, key: &'static str) -> Option<Vec<(usize, &'a str)>> {
        let value = self.value(key)?;
        self.texts(value, key)
    }

    fn texts(&self, value: Value<'a>, key: &str) -> Option<Vec<(usize, &'a str)>> {
        let DeValue::Array(array) = value.value else { return self.wrong(value, key, "a list of texts: [\"…\"]") };
        let texts = array.iter().map(|item| match item.get_ref() {
            DeValue::String(text) => Some((item.span().start, &**text)),
            other => self.wrong(Value { at: item.span().start, value: other }, &format!("everything in {key}"), "a text in quotes"),
        });
        texts.collect()
    }

    /// A list of lists of texts.
    pub(super) fn lists(&self, key: &'static str) -> Option<Vec<(usize, Vec<&'a str>)>> {
        let value = self.value(key)?;
        let wanted = "a list of commands, each a list of words: [[\"python\", \"manage.py\", \"check\"]]";
        let DeValue::Array(array) = value.value else { return self.wrong(value, key, wanted) };
        let lists = array.iter().map(|item| {
            let value = Value { at: item.span().start, value: item.get_ref() };
            let words = self.texts(value, &format!("a command in {key}"))?;
            Some((value.at, words.into_iter().map(|(_, word)| word).collect()))
        });
        lists.collect()
    }

    /// A table below this one.
    pub(super) fn table(&self, key: &'static str) -> Option<Self> {
        let value = self.value(key)?;
        let name = if self.at == 0 { format!("[{key}]") } else { format!("{key} of {}", self.name) };
        self.below(value, name)
    }

    /// All tables of a list `[[key.…]]`.
    pub(super) fn tables(&self, key: &'static str, name: &str) -> Vec<Self> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let DeValue::Array(array) = value.value else {
            let none: Option<Vec<Self>> = self.wrong(value, name, "a list of tables");
            return none.unwrap_or_default();
        };
        array.iter().filter_map(|item| self.below(Value { at: item.span().start, value: item.get_ref() }, name.to_owned())).collect()
    }

    /// All keys with their places and values: for tables whose keys are names that the team chose.
    pub(super) fn entries(&self) -> Vec<(usize, &'a str, Value<'a>)> {
        let entry = |(key, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let key: &'a Spanned<std::borrow::Cow<'a, str>> = key;
            (key.span().start, &**key.get_ref(), Value { at: value.span().start, value: value.get_ref() })
        };
        self.table.iter().map(entry).collect()
    }

    /// An entry as a table.
    pub(super) fn entry_table(&self, value: Value<'a>, name: String) -> Option<Self> {
        self.below(value, name)
    }

    /// An entry as a text.
    pub(super) fn entry_text(&self, value: Value<'a>, name: &str) -> Option<&'a str> {
        match value.value {
            DeValue::String(text) => Some(text),
            _ => self.wrong(value, name, "a text in quotes"),
        }
    }

    /// All has been asked for: every other key is a mistake.
    pub(super) fn finish(self) {
        let known = self.known.borrow();
        #[cfg(test)]
        self.reader.asked.borrow_mut().extend(known.iter().map(|key| (self.name.clone(), *key)));
        for key in self.table.keys() {
            let word: &str = key.get_ref();
            if known.contains(&word) {
                continue;
            }
            let hint = match meant(word, &known) {
                Some(meant) => format!("; did you mean \"{meant}\"?"),
                None => format!("; it knows {}", known.join(", ")),
            };
            let shown: String = word.chars().take(60).collect();
            self.reader.mistake(key.span().start, format!("unknown key {shown:?} in {}{hint}", self.name));
        }
    }
}

const fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
