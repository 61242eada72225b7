//! The list of static files that lies in a release.

#![allow(dead_code, reason = "a program exports nothing, so its file is compiled here once more")]

#[path = "../../../../agent/src/publish/manifest.rs"]
mod manifest;

use roadstead_model::RelativePath;

/// What is read names plain paths and nothing else; what is refused says so in a line without the list's own words.
pub fn static_names(bytes: &[u8]) {
    match manifest::hashed(bytes) {
        Ok(names) => {
            for name in &names {
                assert!(RelativePath::parse(name).is_ok_and(|path| path.as_str() == name && !path.is_root()), "{name}");
                assert!(manifest::is_among(name, &names) && manifest::is_among(&format!("{name}.gz"), &names), "{name}");
            }
        }
        Err(why) => assert!(why.starts_with("staticfiles.json is ") && why.len() < 200 && !why.contains('\n'), "{why}"),
    }
}
