//! How the packages of a release come to this host, pure: linked from the tree that the builder installed, or installed here from wheels.

use roadstead_bundle::manifest::{Manifest, Packages, TreeRef};
use roadstead_bundle::wheel::{Target, WheelName};
use roadstead_model::{Failure, FailureKind};
use std::path::Path;

use crate::host::installer::{self, Installer};
use crate::host::libc_version;
use crate::host::python::{self, Interpreter};

/// What of the host decides.
#[derive(Debug, Clone)]
pub(crate) struct Here {
    /// The interpreter that the release asks for, or what there is instead, in words.
    pub(crate) interpreter: Result<Interpreter, String>,
    /// What wheels can be installed with.
    pub(crate) installer: Option<Installer>,
    /// Such as `x86_64`.
    pub(crate) architecture: &'static str,
    /// Of the C library.
    pub(crate) glibc: Option<libc_version::Version>,
}

/// The way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the tree: its files are linked.
    Linked(Interpreter),
    /// From wheels, and why the tree is of no use when there is one.
    Installed(Interpreter, Installer),
}

impl Here {
    /// This host, as a release needs it.
    pub(crate) fn of(manifest: &Manifest) -> Self {
        let root = Path::new("/");
        let interpreter = python::choose(root, manifest.spec.python);
        let installer = interpreter.as_ref().ok().and_then(|interpreter| installer::find(root, interpreter));
        Self { interpreter, installer, architecture: std::env::consts::ARCH, glibc: libc_version::of_host() }
    }
}

/// The way for a release on a host, or why there is none.
pub(crate) fn way(manifest: &Manifest, here: &Here) -> Result<Way, Failure> {
    let unfit = |summary: String, hint: &str| Failure::new(FailureKind::Unfit, summary, hint);
    let interpreter = here.interpreter.clone().map_err(|found| {
        let summary = format!("the release needs Python {}; {found}", manifest.spec.python);
        unfit(summary, "install that Python on the host, or change python in roadstead.toml and build again")
    })?;
    let packages = &manifest.packages;
    let useless = match &packages.installed {
        None => None,
        Some(_) => match tree_misfit(packages, here) {
            None => return Ok(Way::Linked(interpreter)),
            Some(why) => Some(why),
        },
    };
    if packages.wheels.is_none() {
        let hint = "build it on a machine like the oldest of the hosts, or with ship = \"both\" under [dependencies]";
        return Err(unfit(useless.unwrap_or_else(|| "the release carries no packages".to_owned()), hint));
    }
    match &here.installer {
        Some(installer) => Ok(Way::Installed(interpreter, installer.clone())),
        None => {
            let first = useless.map(|why| format!("{why}; ")).unwrap_or_default();
            let summary = format!(
                "{first}the release's wheels can be installed with uv or pip, and this host has neither for Python {}",
                interpreter.version
            );
            Err(unfit(summary, "run apt install python3-venv on the host, or put uv into /usr/local/bin"))
        }
    }
}

/// Why the installed tree is of no use on a host.
fn tree_misfit(packages: &Packages, here: &Here) -> Option<String> {
    if packages.architecture != here.architecture {
        return Some(format!("the release was built for {}, this host is {}", packages.architecture, here.architecture));
    }
    match (libc_version::parse(&packages.libc), here.glibc) {
        (Some(built), Some(found)) if built > found => {
            Some(format!("the release was built with glibc {}.{}, this host has {}.{}", built.0, built.1, found.0, found.1))
        }
        _ => None,
    }
}

/// Whether each of these files, which lie beside each other in the tree of wheels, can be installed on the host.
pub(crate) fn wheels_fit<'a>(names: impl Iterator<Item = &'a str>, manifest: &Manifest, here: &Here) -> Result<(), Failure> {
    let (packages, python) = (&manifest.packages, manifest.spec.python);
    let target = Target { python, architecture: here.architecture, glibc: here.glibc };
    for name in names.filter(|name| name.ends_with(".whl")) {
        // What was compiled where the release was built needs that machine's C library.
        let too_new = name.contains("-linux_") && tree_misfit(packages, here).is_some();
        if too_new || !WheelName::parse(name).is_some_and(|wheel| wheel.fits(&target)) {
            let glibc = here.glibc.map_or_else(|| "no glibc".to_owned(), |(major, minor)| format!("glibc {major}.{minor}"));
            let summary = format!("{name} cannot be installed here: this host has Python {python} on {} with {glibc}", here.architecture);
            return Err(Failure::new(FailureKind::Unfit, summary, "build the release on a machine like this host"));
        }
    }
    Ok(())
}

/// The trees that a host needs which goes this way.
pub(crate) fn trees<'a>(manifest: &'a Manifest, way: &Way) -> Vec<&'a TreeRef> {
    let packages = match way {
        Way::Linked(_) => &manifest.packages.installed,
        Way::Installed(..) => &manifest.packages.wheels,
    };
    std::iter::once(&manifest.code).chain(packages).chain(&manifest.statics).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::samples;
    use roadstead_bundle::spec::PythonVersion;
    use roadstead_model::Digest;

    fn here() -> Here {
        let interpreter = Interpreter { version: PythonVersion { major: 3, minor: 11 }, path: "/usr/bin/python3.11".into() };
        let installer = Some(Installer::Pip("/usr/share/python-wheels/pip-23-py3-none-any.whl".into()));
        Here { interpreter: Ok(interpreter), installer, architecture: "x86_64", glibc: Some((2, 36)) }
    }

    fn release(installed: bool, wheels: bool) -> Manifest {
        let mut manifest = samples::manifest("1.0");
        let tree = |name: &str| TreeRef { root: Digest::of(name.as_bytes()), entries: 1, bytes: 1 };
        manifest.packages.architecture = "x86_64".to_owned();
        manifest.packages.libc = "glibc-2.36".to_owned();
        manifest.packages.installed = installed.then(|| tree("installed"));
        manifest.packages.wheels = wheels.then(|| tree("wheels"));
        manifest
    }

    #[test]
    fn the_tree_is_linked_where_it_fits_and_wheels_are_the_fallback() {
        let is_linked = |way: Result<Way, Failure>| matches!(way.unwrap(), Way::Linked(_));
        assert!(is_linked(way(&release(true, true), &here())));
        assert!(!is_linked(way(&release(false, true), &here())));
        for other in [Here { architecture: "aarch64", ..here() }, Here { glibc: Some((2, 31)), ..here() }] {
            let way = way(&release(true, true), &other).unwrap();
            assert!(matches!(way, Way::Installed(..)));
            let trees: Vec<_> = trees(&release(true, true), &way).into_iter().map(|tree| tree.root).collect();
            assert!(trees.contains(&Digest::of(b"wheels")) && !trees.contains(&Digest::of(b"installed")));
        }
    }

    #[test]
    fn a_host_that_cannot_take_it_is_told_what_was_found() {
        let told = |manifest: &Manifest, here: &Here| way(manifest, here).unwrap_err().summary;
        let old = Here { glibc: Some((2, 31)), ..here() };
        assert_eq!(told(&release(true, false), &old), "the release was built with glibc 2.36, this host has 2.31");
        let other = Here { architecture: "aarch64", ..here() };
        assert_eq!(told(&release(true, false), &other), "the release was built for x86_64, this host is aarch64");
        let none = Here { interpreter: Err("found 3.12 (/opt/py/bin/python3.12)".to_owned()), ..here() };
        assert_eq!(told(&release(true, true), &none), "the release needs Python 3.11; found 3.12 (/opt/py/bin/python3.12)");
        let bare = Here { installer: None, ..here() };
        assert!(told(&release(false, true), &bare).ends_with("with uv or pip, and this host has neither for Python 3.11"));
        assert!(way(&release(true, true), &bare).is_ok(), "the tree needs no installer");
    }

    #[test]
    fn every_wheel_has_to_fit() {
        let fit = |names: &[&str], here: &Here| wheels_fit(names.iter().copied(), &release(true, true), here);
        let pure = ["django-5.2-py3-none-any.whl", "lock.txt"];
        assert!(fit(&pure, &here()).is_ok() && fit(&pure, &Here { architecture: "aarch64", ..here() }).is_ok());
        let made_here = ["own-1-cp311-cp311-linux_x86_64.whl"];
        assert!(fit(&made_here, &here()).is_ok());
        assert!(fit(&made_here, &Here { glibc: Some((2, 31)), ..here() }).is_err());
        let failure = fit(&["pillow-1-cp312-cp312-manylinux_2_28_x86_64.whl"], &here()).unwrap_err();
        assert!(failure.summary.ends_with("this host has Python 3.11 on x86_64 with glibc 2.36"), "{}", failure.summary);
        assert!(fit(&["junk.whl"], &here()).is_err());
    }
}
