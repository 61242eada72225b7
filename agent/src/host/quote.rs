//! systemd's quoting, pure: words of command lines, assignments and values of environment files.

use std::fmt::Write;

/// One word of a unit file setting (`Environment=`, `ReadWritePaths=`): quoted, specifiers (`%`) switched off.
pub(crate) fn word(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '%' => quoted.push_str("%%"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_ascii_control() => write_hex(&mut quoted, control),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

fn write_hex(quoted: &mut String, control: char) {
    // Writing to a string cannot fail.
    let _infallible = write!(quoted, "\\x{:02x}", u32::from(control));
}

/// One word of an `ExecStart=` line: as [`word`], and `$` switched off too.
pub(crate) fn argument(text: &str) -> String {
    word(text).replace('$', "$$")
}

/// A path as a setting that takes the rest of the line as it stands (`WorkingDirectory=`, `EnvironmentFile=`): only specifiers are special.
pub(crate) fn line(text: &str) -> String {
    text.replace('%', "%%")
}

/// An argument in a D-Bus `ExecStart` property: no quoting and no specifiers there, but variables are still filled in.
pub(crate) fn transient_argument(text: &str) -> String {
    text.replace('$', "$$")
}

/// The name of a unit's instance: characters that unit names may not have are written as `\xNN`.
pub(crate) fn instance(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii_alphanumeric() || ":-_.".contains(character) {
            name.push(character);
        } else {
            let mut buffer = [0; 4];
            for byte in character.encode_utf8(&mut buffer).bytes() {
                let _infallible = write!(name, "\\x{byte:02x}");
            }
        }
    }
    name
}

/// The text that [`instance`] wrote, or `None` for what it never writes.
pub(crate) fn from_instance(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let digits = rest.get(at + 1..at + 4)?.strip_prefix('x')?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = rest.get(at + 4..)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_for_systemd_to_interpret() {
        assert_eq!(word("a b"), "\"a b\"");
        assert_eq!(word("100% \"x\" \\n\nnext\u{1}"), "\"100%% \\\"x\\\" \\\\n\\nnext\\x01\"");
        assert_eq!(argument("$HOME ${A}"), "\"$$HOME $${A}\"");
        assert_eq!(argument(";"), "\";\"");
        assert_eq!(transient_argument("$A%h"), "$$A%h");
    }

    #[test]
    fn instance_names_read_back() {
        for text in ["1.0.0-0123456789ab", "1.0~rc1-0123456789ab", "ä"] {
            assert_eq!(from_instance(&instance(text)).as_deref(), Some(text));
        }
        assert_eq!(instance("1.0~rc1"), "1.0\\x7erc1");
        for bad in ["\\", "\\x7", "\\y41", "\\xzz", "\\xff"] {
            assert_eq!(from_instance(bad), None, "{bad}");
        }
    }
}
