//! Whose a file of a traceback is: the app's own, or that of Python and of installed packages.

/// Folders of packages and of Python itself, wherever they lie.
const PACKAGES: [&str; 4] = ["/site-packages/", "/dist-packages/", "/lib/python", "/lib64/python"];
/// Folders outside of a release that hold what is installed.
const INSTALLED: [&str; 3] = ["/venvs/", "/.venv/", "/bin/"];

/// The path of a file of the app, from the root of its release where it lies in one; `None` for all that is not the app's.
pub(super) fn own(path: &str) -> Option<&str> {
    let within = |folders: &[&str]| folders.iter().any(|folder| path.contains(folder));
    // What Python makes of no file has a name such as `<string>` or `<frozen importlib._bootstrap>`.
    if path.is_empty() || path.starts_with('<') || within(&PACKAGES) {
        return None;
    }
    let path = path.strip_prefix("./").unwrap_or(path);
    in_release(path).or_else(|| (!within(&INSTALLED)).then_some(path))
}

/// `/srv/roadstead/APP/releases/ID/erp/settings.py` and `/srv/roadstead/APP/current/erp/settings.py` are `erp/settings.py`.
fn in_release(path: &str) -> Option<&str> {
    let (_, of_app) = path.strip_prefix('/')?.split_once("roadstead/")?;
    let (_, below) = of_app.split_once('/')?;
    let inside = match below.split_once('/')? {
        ("releases", named) => named.split_once('/')?.1,
        ("current", inside) => inside,
        _ => return None,
    };
    (!inside.is_empty()).then_some(inside)
}
