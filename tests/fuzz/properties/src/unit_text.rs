//! What the agent writes into units of systemd's, and reads of their names.

use crate::agent::quote::{argument, from_instance, instance, line, word};
use crate::text::text;

/// Whatever a release says, a word of a unit is one word, and systemd reads of it what was meant; the name of an instance leads back to
/// its release, and every release to a name of its own.
pub fn unit_text(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let quoted = word(text);
    assert!(!quoted.contains(['\n', '\r', '\0']), "a word is more than a line");
    if !text.contains('\0') {
        assert_eq!(read(&quoted).as_deref(), Some(text));
        assert_eq!(read(&argument(text).replace("$$", "$")).as_deref(), Some(text));
    }
    assert_eq!(line(text).split("%%").collect::<Vec<_>>(), text.split('%').collect::<Vec<_>>(), "a specifier is left");
    let name = instance(text);
    assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":-_.\\".contains(&byte)));
    assert_eq!(from_instance(&name).as_deref(), Some(text));
    if let Some(read) = from_instance(text) {
        assert_eq!(from_instance(&instance(&read)), Some(read));
    }
}

/// A quoted word as systemd reads it (systemd.syntax(7)), specifiers filled in.
fn read(quoted: &str) -> Option<String> {
    let mut rest = quoted.strip_prefix('"')?.chars();
    let mut bytes = String::new();
    loop {
        match rest.next()? {
            '"' => return rest.as_str().is_empty().then_some(bytes),
            '%' => bytes.push(rest.next().filter(|next| *next == '%')?),
            '\\' => bytes.push(match rest.next()? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'x' => char::from(u8::from_str_radix(&[rest.next()?, rest.next()?].iter().collect::<String>(), 16).ok()?),
                same @ ('"' | '\\') => same,
                _ => return None,
            }),
            other => bytes.push(other),
        }
    }
}
