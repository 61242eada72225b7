//! What a wheel's file name says: on which Python, architecture and C library it can be installed. Pure.

use crate::spec::PythonVersion;

/// What a wheel is to be installed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// The interpreter's version.
    pub python: PythonVersion,
    /// Such as `x86_64`.
    pub architecture: &'a str,
    /// Major and minor of glibc; `None` for another C library.
    pub glibc: Option<(u32, u32)>,
}

/// A wheel's file name, read: `NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelName<'a> {
    /// The package, as the file spells it.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    pythons: &'a str,
    abis: &'a str,
    platforms: &'a str,
}

impl<'a> WheelName<'a> {
    /// Reads a file name; `None` when it is no wheel's.
    #[must_use]
    pub fn parse(file: &'a str) -> Option<Self> {
        let parts: Vec<&str> = file.strip_suffix(".whl")?.split('-').collect();
        let ([name, version, pythons, abis, platforms] | [name, version, _, pythons, abis, platforms]) = parts[..] else { return None };
        let read = Self { name, version, pythons, abis, platforms };
        parts.iter().all(|part| !part.is_empty()).then_some(read)
    }

    /// Whether it can be installed for the target.
    #[must_use]
    pub fn fits(&self, target: &Target<'_>) -> bool {
        let abi = |abi: &str| self.pythons.split('.').any(|python| python_fits(python, abi, target.python));
        self.abis.split('.').any(abi) && self.platforms.split('.').any(|platform| platform_fits(platform, target))
    }
}

/// Python tags: `py3` and `py311` run on that Python and later ones, `cp311` is compiled for one, unless its ABI is the stable one.
fn python_fits(tag: &str, abi: &str, python: PythonVersion) -> bool {
    let digits = tag.find(|c: char| c.is_ascii_digit()).map_or("", |at| &tag[at..]);
    let (major, minor) = digits.split_at(digits.len().min(1));
    if major != "3" {
        return false;
    }
    let minor = if minor.is_empty() { Some(0) } else { minor.parse::<u8>().ok() };
    let Some(minor) = minor else { return false };
    match (&tag[..tag.len() - digits.len()], abi) {
        ("py", "none") | ("cp", "abi3") => minor <= python.minor,
        ("cp", "none") => minor == python.minor || (digits == "3"),
        ("cp", abi) => {
            // Python 3.7 and older had an `m` behind the number.
            minor == python.minor && abi.strip_prefix("cp3").and_then(|rest| rest.trim_end_matches('m').parse::<u8>().ok()) == Some(minor)
        }
        _ => false,
    }
}

/// Platform tags: `any`, `linux_ARCH` (built on a machine like this), `manylinux…_ARCH` (needs a glibc at least as new).
fn platform_fits(tag: &str, target: &Target<'_>) -> bool {
    if tag == "any" {
        return true;
    }
    let Some(family) = tag.strip_suffix(target.architecture).and_then(|rest| rest.strip_suffix('_')) else { return false };
    let needed = match family {
        "linux" => return true,
        "manylinux1" => (2, 5),
        "manylinux2010" => (2, 12),
        "manylinux2014" => (2, 17),
        _ => match family.strip_prefix("manylinux_").and_then(|version| version.split_once('_')) {
            Some((major, minor)) => match (major.parse(), minor.parse()) {
                (Ok(major), Ok(minor)) => (major, minor),
                _ => return false,
            },
            None => return false,
        },
    };
    target.glibc.is_some_and(|here| here >= needed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fits(file: &str, minor: u8, architecture: &str, glibc: (u32, u32)) -> bool {
        let target = Target { python: PythonVersion { major: 3, minor }, architecture, glibc: Some(glibc) };
        WheelName::parse(file).unwrap().fits(&target)
    }

    #[test]
    fn a_wheel_fits_where_its_tags_say() {
        for (file, minor, expected) in [
            ("django-5.2-py3-none-any.whl", 11, true),
            ("six-1.16-py2.py3-none-any.whl", 12, true),
            ("old-1-py2-none-any.whl", 11, false),
            ("new-1-py312-none-any.whl", 11, false),
            ("pillow-11-cp311-cp311-manylinux_2_28_x86_64.whl", 11, true),
            ("pillow-11-cp311-cp311-manylinux_2_28_x86_64.whl", 12, false),
            ("pillow-11-cp311-cp311-manylinux_2_28_aarch64.whl", 11, false),
            ("pillow-11-cp311-cp311-manylinux_2_39_x86_64.whl", 11, false),
            ("pillow-11-cp311-cp311-musllinux_1_2_x86_64.whl", 11, false),
            ("cryptography-45-cp39-abi3-manylinux2014_x86_64.manylinux_2_17_x86_64.whl", 11, true),
            ("cryptography-45-cp313-abi3-manylinux2014_x86_64.whl", 11, false),
            ("own-1-1build-cp311-cp311-linux_x86_64.whl", 11, true),
            ("x-1-cp311-cp311-win_amd64.whl", 11, false),
        ] {
            assert_eq!(fits(file, minor, "x86_64", (2, 36)), expected, "{file} on 3.{minor}");
        }
        assert!(!fits("a-1-cp311-cp311-manylinux2014_x86_64.whl", 11, "x86_64", (2, 12)));
        let musl = Target { python: PythonVersion { major: 3, minor: 11 }, architecture: "x86_64", glibc: None };
        assert!(!WheelName::parse("a-1-cp311-cp311-manylinux2014_x86_64.whl").unwrap().fits(&musl));
    }

    #[test]
    fn what_is_no_wheel_is_none() {
        for file in ["", "a.whl", "a-1.tar.gz", "a-1-py3-none.whl", "a--py3-none-any.whl", "a-1-2-3-4-5-6.whl"] {
            assert_eq!(WheelName::parse(file), None, "{file}");
        }
    }

    proptest! {
        #[test]
        fn any_name_is_read_or_refused(file in "\\PC{0,60}", tags in "[a-z0-9_.]{1,12}-[a-z0-9_.]{1,12}-[a-z0-9_.]{1,24}") {
            let target = Target { python: PythonVersion { major: 3, minor: 11 }, architecture: "x86_64", glibc: Some((2, 36)) };
            for name in [file, format!("a-1-{tags}.whl")] {
                let _either: Option<bool> = WheelName::parse(&name).map(|wheel| wheel.fits(&target));
            }
        }
    }
}
