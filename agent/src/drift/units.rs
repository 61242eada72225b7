//! Units beside what the agent wrote: their texts, what adds to them, and whether they start at boot.
//!
//! A drop-in is an operator's way to say more about a unit than the release does (`systemctl edit`): it is named as the operator's own, and
//! never counted as a difference nor removed. The file itself is the agent's.

use roadstead_model::{AppName, Differs, DriftFinding, DriftPart, Failure, limits};
use roadstead_worker::files::read_bounded;
use std::path::{Path, PathBuf};

use crate::host::Host;
use crate::host::systemd::UnitState;
use crate::host::unit_file::socket_unit;
use crate::layout::Layout;
use crate::steps::account;
use crate::steps::configure::{boot_text, unit_texts};
use crate::steps::release::{Release, Role, role};
use crate::steps::util::disk;

/// A file that should say this.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The unit; empty for a file that is none.
    unit: String,
    path: PathBuf,
    text: String,
    /// Whether it starts at boot: what serves does, what is only tried does not.
    at_boot: bool,
}

/// What there is of it.
#[derive(Debug, Default)]
struct Found {
    text: Option<String>,
    /// `enabled`, `linked`, `masked`, …
    file_state: String,
    /// Where systemd found its file; empty while it has not loaded it.
    fragment: PathBuf,
    drop_ins: Vec<String>,
}

/// The files of a release on this host, as they should be.
pub(crate) fn wanted(layout: &Layout, release: &Release) -> Result<Vec<Wanted>, Failure> {
    let account = account::of(layout, release.app())?;
    let mut served: Vec<String> = Vec::new();
    let mut all = Vec::new();
    for (name, service) in release.services() {
        match role(service) {
            Role::Own => continue,
            Role::WebTcp(address) => {
                let (unit, serves) = (release.socket(name), release.unit(name));
                let text = socket_unit(release.app(), name, address, &serves);
                all.push(Wanted { path: layout.units().join(&unit), unit, text, at_boot: true });
            }
            // What needs a lease starts when it has one.
            Role::Single if !release.starts_at_boot(service) => continue,
            Role::WebUnix | Role::Worker | Role::Single => {}
        }
        served.push(release.unit(name));
    }
    for (unit, text) in unit_texts(layout, release, &account)? {
        let at_boot = served.contains(&unit);
        all.push(Wanted { path: layout.units().join(&unit), unit, text, at_boot });
    }
    let text = boot_text(layout, release, &account);
    all.push(Wanted { unit: String::new(), path: layout.boot_files(release.app()), text, at_boot: false });
    Ok(all)
}

/// Compares them with the host.
pub(crate) async fn look(host: &Host, layout: &Layout, release: &Release) -> Result<Vec<DriftFinding>, Failure> {
    let (layout, of) = (layout.clone(), release.clone());
    let all = disk(move || {
        let read = |wanted: Wanted| {
            let bytes = read_bounded(&wanted.path, limits::CONFIG_FILE_BYTES_MAX);
            let text = bytes.ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            (wanted, text)
        };
        Ok(wanted(&layout, &of)?.into_iter().map(read).collect::<Vec<_>>())
    })
    .await?;
    let mut findings = Vec::new();
    for (wanted, text) in all {
        let mut found = Found { text, ..Found::default() };
        if wanted.at_boot {
            let state: UnitState = host.systemd.unit(&wanted.unit).await.map_err(|error| error.failure())?;
            found.file_state = host.systemd.file_state(&wanted.unit).await.map_err(|error| error.failure())?;
            found.fragment = std::fs::canonicalize(&state.fragment).unwrap_or_else(|_| state.fragment.clone().into());
            found.drop_ins = state.drop_ins;
        }
        let place = std::fs::canonicalize(&wanted.path).unwrap_or_else(|_| wanted.path.clone());
        findings.extend(compare(release.app(), &wanted, &place, &found));
    }
    Ok(findings)
}

fn compare(app: &AppName, wanted: &Wanted, place: &Path, found: &Found) -> Vec<DriftFinding> {
    let told = |how, place: &Path, detail: &str| DriftFinding::new(DriftPart::Unit, how, place.to_string_lossy(), detail);
    let mut findings = Vec::new();
    match &found.text {
        None => findings.push(told(Differs::Missing, &wanted.path, "")),
        Some(text) if *text != wanted.text => findings.push(told(Differs::Changed, &wanted.path, "")),
        Some(_) => {}
    }
    if !wanted.at_boot {
        return findings;
    }
    let unit = Path::new(&wanted.unit);
    match found.file_state.as_str() {
        "enabled" => {}
        "masked" | "masked-runtime" => findings.push(told(Differs::Masked, unit, "")),
        "" => findings.push(told(Differs::Disabled, unit, "systemd does not know it")),
        state => findings.push(told(Differs::Disabled, unit, &format!("it is {state}"))),
    }
    let masked = found.file_state.starts_with("masked");
    if !masked && !found.fragment.as_os_str().is_empty() && found.fragment != place {
        findings.push(told(Differs::Elsewhere, unit, &format!("systemd reads {}", found.fragment.display())));
    }
    // Those for all services of a host, such as a distribution's, are nobody's word about this one.
    let of_this = |path: &&String| Path::new(path).parent().and_then(Path::file_name).is_some_and(|folder| is_of_app(app, folder));
    findings.extend(found.drop_ins.iter().filter(of_this).map(|path| told(Differs::Own, Path::new(path), "")));
    findings
}

fn is_of_app(app: &AppName, folder: &std::ffi::OsStr) -> bool {
    folder.to_str().and_then(|name| name.strip_prefix(app.as_str())).is_some_and(|rest| rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::samples;

    fn found(text: &str, state: &str) -> Found {
        let fragment = PathBuf::from("/etc/roadstead/units/erp-web.service");
        Found { text: Some(text.to_owned()), file_state: state.to_owned(), fragment, drop_ins: Vec::new() }
    }

    fn told(at_boot: bool, found: &Found) -> Vec<Differs> {
        let path = PathBuf::from("/etc/roadstead/units/erp-web.service");
        let wanted = Wanted { unit: "erp-web.service".to_owned(), path: path.clone(), text: "x".to_owned(), at_boot };
        compare(&samples::app(), &wanted, &path, found).into_iter().map(|finding| finding.how).collect()
    }

    #[test]
    fn texts_and_the_start_at_boot_are_compared() {
        assert_eq!(told(true, &found("x", "enabled")), []);
        assert_eq!(told(true, &found("y", "enabled")), [Differs::Changed]);
        assert_eq!(told(true, &found("x", "linked")), [Differs::Disabled]);
        assert_eq!(told(true, &found("x", "masked")), [Differs::Masked]);
        assert_eq!(told(true, &Found::default()), [Differs::Missing, Differs::Disabled]);
        assert_eq!(told(false, &found("x", "linked")), [], "what is only tried does not start at boot");
        let other = Found { fragment: "/run/systemd/system/erp-web.service".into(), ..found("x", "enabled") };
        assert_eq!(told(true, &other), [Differs::Elsewhere]);
    }

    #[test]
    fn a_drop_in_is_its_operators_own() {
        let drop_ins = ["/etc/systemd/system/erp-web@1.service.d/override.conf", "/usr/lib/systemd/system/service.d/10-all.conf"];
        let edited = Found { drop_ins: drop_ins.map(str::to_owned).to_vec(), ..found("x", "enabled") };
        assert_eq!(told(true, &edited), [Differs::Own]);
    }
}
