//! Names of wheels, as package indexes have them.

use roadstead_bundle::spec::PythonVersion;
use roadstead_bundle::wheel::{Target, WheelName};

use crate::text::text;

/// A name that is read begins with the package and its version; a wheel fits a newer C library where it fits an older one, and one
/// for any platform fits every one of them.
pub fn wheel(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let Some(name) = WheelName::parse(text) else { return };
    assert!(text.starts_with(&format!("{}-{}-", name.name, name.version)) && text.ends_with(".whl"));
    let fits = |architecture, glibc| {
        let python = PythonVersion { major: 3, minor: 11 };
        name.fits(&Target { python, architecture, glibc })
    };
    for architecture in ["x86_64", "aarch64"] {
        let by_age = [None, Some((2, 17)), Some((2, 36)), Some((3, 0))].map(|glibc| fits(architecture, glibc));
        assert!(by_age.is_sorted(), "a wheel fits an older C library only: {text:?}");
        if text.ends_with("-any.whl") {
            assert_eq!(by_age[0], by_age[3]);
        }
    }
}
