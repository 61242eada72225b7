//! A private virtual environment per interpreter with pip (and uv when it is needed): never the user's own environments.

use roadstead_bundle::spec::PythonVersion;
use std::path::{Path, PathBuf};

use super::cache::{Cache, Work};
use super::python::Python;
use super::run::{Run, on_path};
use crate::failure::{Failure, Result};

const PIP: &str = include_str!("scripts/pip.py");

/// Settings of pip that would change where or what it installs.
const UNWANTED: [&str; 13] = [
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_USER",
    "PIP_NO_DEPS",
    "PIP_DRY_RUN",
    "PIP_REPORT",
    "PIP_REQUIRE_VIRTUALENV",
    "PIP_PYTHON",
    "PIP_NO_COMPILE",
    "PIP_COMPILE",
    "PIP_REQUIREMENT",
    "PIP_EDITABLE",
];

/// The tools for one interpreter.
#[derive(Debug)]
pub(crate) struct Toolbox {
    folder: PathBuf,
    python: Python,
    target: Option<PythonVersion>,
}

impl Toolbox {
    /// The toolbox of this interpreter, made when the cache has none.
    pub(crate) fn open(cache: &Cache, work: &Work, python: &Python) -> Result<Self> {
        let place = cache.place("toolbox", &python.key())?;
        if !place.join("ready").exists() {
            let fresh = work.join("toolbox");
            make(python, &fresh)?;
            std::fs::write(fresh.join("ready"), "").map_err(|error| crate::failure::file("write", &fresh, &error))?;
            cache.publish(&fresh, &place)?;
        }
        Ok(Self { folder: place, python: python.clone(), target: None })
    }

    /// The same tools, used for a Python that this machine has not: they choose wheels for it and can build nothing that is compiled.
    pub(crate) fn for_another(self, target: PythonVersion) -> Self {
        Self { target: Some(target), ..self }
    }

    /// The Python that is worked for, when it is not the toolbox's own.
    pub(crate) const fn target(&self) -> Option<PythonVersion> {
        self.target
    }

    /// What decides whether something made with these tools can be used again.
    pub(crate) fn key(&self) -> String {
        self.target.map_or_else(|| self.python.key(), |target| format!("{}-for-{target}", self.python.key()))
    }

    /// Options that make pip choose archives for the other Python; none when it works for its own.
    pub(crate) fn choice(&self) -> Vec<String> {
        let Some(target) = self.target else { return Vec::new() };
        let Python { architecture, libc, .. } = &self.python;
        let glibc = libc.strip_prefix("glibc-2.").and_then(|minor| minor.split('.').next()?.parse::<u32>().ok()).unwrap_or(17);
        let mut platforms: Vec<String> = (5..=glibc).rev().map(|minor| format!("manylinux_2_{minor}_{architecture}")).collect();
        platforms.extend(["manylinux2014", "manylinux2010", "manylinux1", "linux"].map(|family| format!("{family}_{architecture}")));
        let tag = target.to_string().replace('.', "");
        let mut options = vec!["--only-binary=:all:".to_owned(), format!("--python-version={target}"), "--implementation=cp".to_owned()];
        options.extend([format!("cp{tag}"), "abi3".to_owned(), "none".to_owned()].map(|abi| format!("--abi={abi}")));
        options.extend(platforms.into_iter().map(|platform| format!("--platform={platform}")));
        options
    }

    /// The interpreter that it serves.
    pub(crate) const fn python(&self) -> &Python {
        &self.python
    }

    /// `pip`, with the user's index settings and nothing that would lead it elsewhere.
    pub(crate) fn pip(&self) -> Run {
        let run = pip_environment(Run::clean(self.folder.join("bin/python"), &["PIP_", "CFLAGS", "LDFLAGS", "CPPFLAGS", "PKG_CONFIG"]));
        let flags = std::env::var("CFLAGS").unwrap_or_default();
        // Debug information would carry the name of a temporary folder into every compiled extension.
        let run = run.env("CFLAGS", format!("{flags} -g0").trim()).env("SOURCE_DATE_EPOCH", "315532800");
        let run =
            self.target.map(|target| target.to_string()).into_iter().fold(run, |run, target| run.env("ROADSTEAD_TARGET_PYTHON", target));
        run.args(["-c", PIP])
    }

    /// The interpreter about to run one of our own scripts: no user site, no bytecode of its own, the same hashes every time.
    pub(crate) fn script(&self, source: &str) -> Run {
        script(&self.python, source)
    }

    /// uv: from PATH, else installed into the toolbox.
    pub(crate) fn uv(&self) -> Result<PathBuf> {
        if let Some(found) = on_path(&["uv"]).into_iter().next() {
            return Ok(found.into());
        }
        let own = self.folder.join("bin/uv");
        if !own.exists() {
            let hint = "install uv (https://docs.astral.sh/uv), or let the build reach a package index";
            self.pip()
                .args(["install", "--quiet", "uv"])
                .expect("cannot install uv, which reads uv.lock")
                .map_err(|failure| failure.hint(hint))?;
        }
        Ok(own)
    }
}

/// See [`Toolbox::script`].
pub(crate) fn script(python: &Python, source: &str) -> Run {
    Run::clean(&python.executable, &[])
        .args(["-s", "-S", "-B", "-W", "ignore", "-c", source])
        .env("PYTHONHASHSEED", "0")
        .env("PYTHONUTF8", "1")
}

fn pip_environment(run: Run) -> Run {
    let run = UNWANTED.iter().fold(run, |run, name| run.without(name));
    [
        ("PIP_NO_INPUT", "1"),
        ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
        ("PIP_PROGRESS_BAR", "off"),
        ("PIP_NO_COLOR", "1"),
        ("PIP_ROOT_USER_ACTION", "ignore"),
        ("PYTHONHASHSEED", "0"),
    ]
    .into_iter()
    .fold(run, |run, (name, value)| run.env(name, value))
}

fn make(python: &Python, folder: &Path) -> Result<()> {
    let venv = |option: &[&str]| Run::clean(&python.executable, &[]).args(["-m", "venv", "--clear"]).args(option).arg(folder).output();
    let with_pip = venv(&[])?;
    if !with_pip.success {
        let bare = venv(&["--without-pip"])?;
        if !bare.success || !borrow_pip(folder)? {
            let version = python.version().map(|version| version.to_string()).unwrap_or_default();
            return Err(with_pip
                .failure("venv", &format!("{} cannot make a virtual environment with pip", python.executable.display()))
                .hint(format!("install its missing half: `apt install python{version}-venv` on Debian and Ubuntu")));
        }
    }
    let inner = folder.join("bin/python");
    let pip = || pip_environment(Run::clean(&inner, &["PIP_"])).args(["-m", "pip"]);
    let version = pip().arg("--version").expect("the new virtual environment's pip does not run")?;
    let major = version.split(['.', ' ']).find_map(|word| word.parse::<u32>().ok()).unwrap_or(0);
    if major < 23 {
        let what = "the interpreter brings a pip older than 23, and a newer one cannot be installed";
        pip().args(["install", "--quiet", "--upgrade", "pip>=23"]).expect(what)?;
    }
    Ok(())
}

/// Installs pip with the pip of another interpreter.
fn borrow_pip(folder: &Path) -> Result<bool> {
    for lender in on_path(&["python3", "python"]) {
        let run = pip_environment(Run::clean(&lender, &["PIP_"]));
        let run = run.args(["-m", "pip", "--python"]).arg(folder.join("bin/python")).args(["install", "--quiet", "pip>=23"]);
        if run.output()?.success {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The failure of a program for which no hint fits better than its own words.
pub(crate) fn index_hint(failure: Failure) -> Failure {
    let said = failure.detail.to_lowercase();
    let hint = if said.contains("fatal error") && said.contains(".h: no such file") {
        "a package is built from source and misses a header: install the -dev package that holds it on the machine that builds"
    } else if said.contains("pg_config") {
        "psycopg2 is built from source here: install libpq-dev and a compiler, or depend on psycopg2-binary"
    } else if said.contains("error: command") && said.contains("gcc") || said.contains("unable to execute 'gcc'") {
        "a package is built from source: install a C compiler (`apt install build-essential`) on the machine that builds"
    } else if said.contains("temporary failure in name resolution") || said.contains("connection") || said.contains("max retries") {
        "the package index does not answer: check the network and pip's settings (`pip config list`)"
    } else if said.contains("do not match the hashes") {
        "the index has other files than the lock names: make the lock again, and find out why they changed before you trust them"
    } else if said.contains("in --require-hashes mode") {
        "a file with hashes must pin and hash every package that it needs: make it with `pip-compile --generate-hashes`"
    } else if said.contains("resolutionimpossible") || said.contains("conflicting dependencies") {
        "two packages want different versions of a third: loosen one of the pins that pip names above"
    } else if said.contains("no matching distribution") {
        "the index has no such version for this Python: check the name and the pin, and the Python version in roadstead.toml"
    } else {
        return failure;
    };
    failure.hint(hint)
}
