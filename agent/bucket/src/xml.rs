//! The little XML that a bucket's server writes, read as far as it is needed: elements without attributes that matter, texts with the five
//! entities. What is not there is none; nothing nests within itself.

/// What stands within the first element of a name.
pub(crate) fn within<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    all(text, name).next()
}

/// What stands within each element of a name.
pub(crate) fn all<'a>(text: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (opening, closing) = (format!("<{name}"), format!("</{name}>"));
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (_, behind) = rest.split_once(opening.as_str())?;
            rest = behind;
            // Another element, whose name only begins so.
            let Some(end) = behind.find('>').filter(|_| behind.starts_with(['>', ' ', '/', '\n', '\t', '\r'])) else { continue };
            if behind[..end].ends_with('/') {
                rest = &behind[end + 1..];
                return Some("");
            }
            let (inside, after) = behind[end + 1..].split_once(closing.as_str())?;
            rest = after;
            return Some(inside);
        }
    })
}

/// The text of the first element of a name.
pub(crate) fn text(within_what: &str, name: &str) -> Option<String> {
    let raw = within(within_what, name)?.trim();
    let mut out = String::with_capacity(raw.len());
    let mut parts = raw.split('&');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (entity, rest) = part.split_once(';')?;
        out.push(character(entity)?);
        out.push_str(rest);
    }
    Some(out)
}

fn character(entity: &str) -> Option<char> {
    match entity {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = entity.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

/// A text within an element.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_found() {
        let list = "<?xml version=\"1.0\"?>\n<ListBucketResult xmlns=\"http://x/\"><Key-s>no</Key-s><IsTruncated>false</IsTruncated>\
                    <Contents><Key>a&amp;b</Key><ETag>&quot;x&#34;&#x22;</ETag></Contents><Contents><Key>c</Key><Owner/></Contents>\
                    </ListBucketResult>";
        let keys: Vec<_> = all(list, "Contents").map(|one| text(one, "Key").unwrap()).collect();
        assert_eq!(keys, ["a&b", "c"]);
        assert_eq!(text(list, "ETag").unwrap(), "\"x\"\"");
        assert_eq!((text(list, "Owner").unwrap().as_str(), text(list, "None")), ("", None));
        assert_eq!(text(list, "IsTruncated").unwrap(), "false");
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_strange(text in ".*", name in "[A-Z][a-z]{0,3}") {
            all(&text, &name).for_each(drop);
            let _whatever_it_is = super::text(&text, &name);
            let trimmed = text.trim();
            proptest::prop_assert_eq!(super::text(&format!("<{name}>{}</{name}>", escaped(trimmed)), &name).unwrap(), trimmed);
        }
    }

    #[test]
    fn whatever_else_comes_is_none() {
        for bad in ["", "<", "<Key", "<Key>", "<Key>a&b</Key>", "<Key>&#xffffffff;</Key>", "<Keys>a</Keys>", "</Key><Key>", "<Key/"] {
            assert_eq!(text(bad, "Key"), None, "{bad}");
        }
        assert_eq!(text(&format!("<Key>{}</Key>", escaped("a<&>")), "Key").unwrap(), "a<&>");
    }
}
