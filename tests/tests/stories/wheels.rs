//! A host that installs a release's wheels by itself: by pip, by uv, and not at all where it cannot.

use roadstead_tests::fleet::{PlainFleet, tools};
use roadstead_tests::lab::Host;
use std::fs;
use std::path::Path;

const TOML: &str = r#"[app]
name = "parcel"
python = "3.11"

[dependencies]
ship = "wheels"
extra-packages = ["gunicorn"]

[services.web]
kind = "gunicorn"
app = "parcel:application"

[[checks.health]]
service = "web"
path = "/"
"#;

const APP: &str = "
import markupsafe, own

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [f'{markupsafe.escape(own.VALUE)} {own.__file__}'.encode()]
";

/// A package that exists only as source, with a backend of its own: nothing else is needed to build it.
const BACKEND: &str = "
import zipfile
def build_wheel(folder, settings=None, metadata=None):
    info = 'own-3.dist-info/'
    files = {
        'own.py': open('own.py').read(),
        info + 'METADATA': 'Metadata-Version: 2.1\\nName: own\\nVersion: 3\\n',
        info + 'WHEEL': 'Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n',
        info + 'entry_points.txt': '[console_scripts]\\nown-tool = own:tool\\n',
    }
    with zipfile.ZipFile(folder + '/own-3-py3-none-any.whl', 'w') as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr(info + 'RECORD', ''.join(name + ',,\\n' for name in files) + info + 'RECORD,,\\n')
    return 'own-3-py3-none-any.whl'
";

fn project(folder: &Path) {
    let write = |path: &str, text: &str| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("roadstead.toml", TOML);
    write("parcel.py", APP);
    write("requirements.txt", "markupsafe\n./libs/own\n");
    write("libs/own/pyproject.toml", "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n");
    write("libs/own/backend.py", BACKEND);
    write("libs/own/own.py", "VALUE = 'a<b'\ndef tool():\n    print('a tool')\n");
}

#[test]
fn a_host_installs_wheels_by_itself() {
    let uv = tools("uv-tool", &["uv"]).unwrap().with_file_name("uv");
    let fleet = PlainFleet::new("wheels", &["parcel"]).unwrap();
    let (host, folder) = (&fleet.hosts[0], fleet.desk.folder().join("parcel"));
    project(&folder);
    fleet.release(&folder, "1.0").unwrap();

    // With neither pip nor uv it is refused before anything changes, and told what to do.
    host.sh("mkdir /root/away && mv /usr/share/python-wheels/pip-* /root/away/").unwrap();
    let refused = fleet.desk.try_roadstead(&["deploy", "parcel", "1.0"]).unwrap();
    let said = format!("{}{}", refused.stdout, refused.stderr);
    assert!(!refused.success() && said.contains("this host has neither for Python 3.11") && said.contains("python3-venv"), "{said}");
    host.sh("test ! -e /srv/roadstead/parcel/releases && mv /root/away/* /usr/share/python-wheels/").unwrap();

    fleet.desk.roadstead(&["deploy", "parcel", "1.0"]).unwrap();
    let (status, body) = fleet.ask(host, "/").unwrap();
    assert!(status == 200 && body.starts_with("a&lt;b /srv/roadstead/parcel/venvs/"), "{status} {body}");
    whole(host, "pip");

    host.push_file(&uv, "/usr/local/bin/uv").unwrap();
    host.sh("chmod 755 /usr/local/bin/uv").unwrap();
    fs::write(folder.join("libs/own/own.py"), "VALUE = 'c<d'\ndef tool():\n    print('another')\n").unwrap();
    fleet.release(&folder, "1.1").unwrap();
    fleet.desk.roadstead(&["deploy", "parcel", "1.1"]).unwrap();
    assert!(fleet.ask(host, "/").unwrap().1.starts_with("c&lt;d "));
    whole(host, "uv");

    // A Python that the builder has not is built for with wheels; one that the host has not is refused, naming what was found.
    fs::write(folder.join("roadstead.toml"), TOML.replace("3.11", "3.14").replace("ship = \"wheels\"", "ship = \"auto\"")).unwrap();
    let built = fleet.release(&folder, "2.0").unwrap();
    assert!(built.stderr.contains("this machine has no Python 3.14: the release carries wheels"), "{}", built.stderr);
    let refused = fleet.desk.try_roadstead(&["deploy", "parcel", "2.0"]).unwrap();
    let said = format!("{}{}", refused.stdout, refused.stderr);
    assert!(!refused.success() && said.contains("needs Python 3.14; found 3.11 (/usr/bin/python3.11)"), "{said}");
    assert_eq!(fleet.serving("parcel", host).unwrap(), "1.1");
}

/// The serving environment is complete: bytecode that is never checked again, scripts that name their place, everything root's own.
fn whole(host: &Host, installer: &str) {
    let unit = host.sh("systemctl list-units --state=running --plain --no-legend 'parcel-web@*' | cut -d ' ' -f 1").unwrap();
    let pid = host.unit_property(unit.trim(), "MainPID").unwrap();
    let venv = host.sh(&format!("tr '\\0' '\\n' < /proc/{}/environ | sed -n 's/^VIRTUAL_ENV=//p'", pid.trim())).unwrap();
    let venv = venv.trim();
    let site = format!("{venv}/lib/python3.11/site-packages");
    assert_eq!(host.read(&format!("{site}/own-3.dist-info/INSTALLER")).unwrap().trim(), installer);
    // https://docs.python.org/3/reference/import.html#cached-bytecode-invalidation: the flags are the second word of the header.
    let flags = host.sh(&format!("od -An -tu4 -j4 -N4 {site}/__pycache__/own.cpython-311.pyc")).unwrap();
    assert_eq!(flags.trim(), "1", "unchecked, by hash");
    let said = host.sh(&format!("{venv}/bin/own-tool")).unwrap();
    assert!(said.starts_with('a'), "{said}");
    let foreign = host.sh(&format!("find {venv} ! -user root -o ! -type l -perm /go+w | head")).unwrap();
    assert_eq!(foreign, "");
    let left = host.sh("ls -A /srv/roadstead/parcel/venvs | grep '^[.]' || true").unwrap();
    assert_eq!(left, "");
    let traceback = host.sh(&format!("{venv}/bin/python -c 'import own; print(own.tool.__code__.co_filename)'")).unwrap();
    assert_eq!(traceback.trim(), format!("{site}/own.py"));
}
