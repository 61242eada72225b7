//! The words of SQL, as far as its first words decide: statements are parted, strings and comments are left out. It is no parser.

/// Words of a statement that are kept.
const WORDS_MAX: usize = 400;

/// A word, or a sign that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// A keyword in capitals, a quoted name as it is, `(`, `)` or `,`. A string is `'`.
    pub(super) text: String,
    /// Unquoted: it may be a keyword.
    pub(super) plain: bool,
    /// As it is written.
    pub(super) written: String,
}

/// The words of each statement.
pub(super) fn statements(sql: &str) -> Vec<Vec<Word>> {
    let mut statements = vec![Vec::new()];
    let mut rest = sql;
    while let Some(character) = rest.chars().next() {
        let (word, length) = next(rest, character);
        if character == ';' {
            statements.push(Vec::new());
        } else if let (Some(word), Some(last)) = (word, statements.last_mut())
            && last.len() < WORDS_MAX
        {
            last.push(word);
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    statements.retain(|words| !words.is_empty());
    statements
}

fn plain(text: &str) -> Word {
    Word { text: text.to_uppercase(), plain: true, written: text.to_owned() }
}

/// What comes next, and how many bytes it has.
fn next(rest: &str, character: char) -> (Option<Word>, usize) {
    let within = |start: usize, end: &str| {
        let behind = rest.get(start..).unwrap_or_default();
        behind.find(end).map_or(rest.len(), |place| start + place + end.len())
    };
    match character {
        '-' if rest.starts_with("--") => (None, within(2, "\n")),
        '/' if rest.starts_with("/*") => (None, within(2, "*/")),
        '\'' => (Some(plain("'")), string(rest, false)),
        'e' | 'E' if rest.get(1..2) == Some("'") => (Some(plain("'")), 1 + string(rest.get(1..).unwrap_or_default(), true)),
        '"' => {
            let length = within(1, "\"");
            let name = rest.get(1..length).unwrap_or_default().trim_end_matches('"').to_owned();
            (Some(Word { text: name.clone(), plain: false, written: name }), length)
        }
        '$' => match dollar(rest) {
            Some(tag) => (Some(plain("'")), within(tag.len(), tag)),
            None => (None, 1),
        },
        '(' | ')' | ',' => (Some(plain(&character.to_string())), 1),
        _ if is_part(character) => {
            let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            (rest.get(..length).map(plain), length)
        }
        _ => (None, character.len_utf8()),
    }
}

/// A character of a name. A point parts a schema from its table, and stays with both.
fn is_part(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == '.'
}

/// Bytes of the string that begins here: a quote that is doubled ends none, nor does one behind a backslash where these are escapes.
fn string(rest: &str, escapes: bool) -> usize {
    let bytes = rest.as_bytes();
    let mut place = 1;
    while let Some(byte) = bytes.get(place) {
        match byte {
            b'\\' if escapes => place += 2,
            b'\'' if bytes.get(place + 1) == Some(&b'\'') => place += 2,
            b'\'' => return place + 1,
            _ => place += 1,
        }
    }
    rest.len()
}

/// `$tag$`, where one begins.
fn dollar(rest: &str) -> Option<&str> {
    let end = rest.get(1..)?.find('$')? + 2;
    let tag = rest.get(..end)?;
    tag.get(1..end - 1)?.chars().all(|c| c.is_alphanumeric() || c == '_').then_some(tag)
}
