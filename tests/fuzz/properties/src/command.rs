//! Parsers of the command. A program exports nothing, so its files are compiled here once more.

#![allow(dead_code, reason = "only what reads outside bytes is called")]

#[path = "../../../../cli/src/remote/analysis_section.rs"]
pub(crate) mod analysis_section;
#[path = "../../../../cli/src/remote/database_section.rs"]
pub(crate) mod database_section;
#[path = "../../../../cli/src/remote/environment_file.rs"]
pub(crate) mod environment_file;
#[path = "../../../../cli/src/remote/gates_section.rs"]
pub(crate) mod gates_section;
#[path = "../../../../cli/src/init/settings.rs"]
pub(crate) mod settings;
#[path = "../../../../cli/src/remote/spans.rs"]
pub(crate) mod spans;
#[path = "../../../../cli/src/remote/strategy_section.rs"]
pub(crate) mod strategy_section;
#[path = "../../../../cli/src/remote/traffic_section.rs"]
pub(crate) mod traffic_section;

/// What `init` reads of a project's settings is in them: whatever Python it is, and also when it is none.
pub fn django_settings(bytes: &[u8]) {
    let Some(text) = crate::text::text(bytes) else { return };
    let mut variables = settings::Variables::new();
    settings::variables(text, &mut variables);
    assert!(variables.keys().all(|name| text.contains(name.as_str())));
    for name in ["DATABASES", "STATIC_ROOT"] {
        let Some(value) = settings::assignment(text, name) else { continue };
        assert!(text.contains(value) && settings::literals(value).iter().all(|literal| value.contains(literal)));
        if let Some(path) = settings::project_path(value) {
            assert!(!path.starts_with('/') && path.split('/').all(|part| part != ".."), "{path:?} leads out of the project");
        }
    }
}
