"""Turns what pip installed below a prefix into a relocatable tree that is the same every time.

Arguments: PREFIX TREE. TREE gets lib/ (site-packages), bin/ (scripts that find the python beside them) and whatever else packages
brought (share/, etc/). Prints the installed packages.
"""

import base64
import csv
import glob
import hashlib
import io
import json
import os
import shutil
import sys
from importlib.metadata import distributions

HEADER = "#!/bin/sh\n'''exec' \"$(dirname -- \"$(realpath -- \"$0\")\")\"/python \"$0\" \"$@\"\n' '''\n"
ENTRY = """import sys
from {module} import {first}
if __name__ == "__main__":
    if sys.argv[0].endswith(".exe"):
        sys.argv[0] = sys.argv[0][:-4]
    sys.exit({attribute}())
"""
# Facts about this installation, not about the package.
DROPPED = ("direct_url.json", "REQUESTED", "RECORD.jws", "RECORD.p7s")


def merge(source, target):
    os.makedirs(target, exist_ok=True)
    for name in sorted(os.listdir(source)):
        path, goal = os.path.join(source, name), os.path.join(target, name)
        if os.path.isdir(path) and not os.path.islink(path):
            merge(path, goal)
        elif not os.path.lexists(goal):
            shutil.move(path, goal)


def relocate(path):
    """Gives a script of a package the header that finds its python; binaries and other scripts stay as they are."""
    with open(path, "rb") as file:
        content = file.read()
    first, _, rest = content.partition(b"\n")
    if first.startswith(b"#!") and b"python" in first:
        new = HEADER.encode() + rest
    elif first == b"#!/bin/sh" and rest.startswith(b"'''exec'"):
        new = HEADER.encode() + rest.split(b"\n' '''\n", 1)[-1]
    else:
        return
    with open(path, "wb") as file:
        file.write(new)


def entry_points(lib, bin_folder):
    for distribution in distributions(path=[lib]):
        for entry in distribution.entry_points:
            if entry.group not in ("console_scripts", "gui_scripts"):
                continue
            module, _, attribute = entry.value.partition("[")[0].strip().partition(":")
            attribute = attribute.strip()
            if not attribute or "/" in entry.name:
                continue
            path = os.path.join(bin_folder, entry.name)
            body = ENTRY.format(module=module.strip(), first=attribute.split(".")[0], attribute=attribute)
            with open(path, "w", encoding="utf-8") as file:
                file.write(HEADER + body)
            os.chmod(path, 0o755)


def record_hash(path):
    with open(path, "rb") as file:
        digest = hashlib.sha256(file.read()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def record(info, lib):
    """Sorts the record and leaves out what is not in lib/ or was made here."""
    path = os.path.join(info, "RECORD")
    if not os.path.exists(path):
        return
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    own = os.path.relpath(path, lib)
    kept = []
    for row in rows:
        if len(row) != 3 or row[0] == own:
            continue
        file = os.path.normpath(os.path.join(lib, row[0]))
        inside = file.startswith(lib + os.sep) and os.path.isfile(file)
        if inside and os.path.basename(file) not in DROPPED and "__pycache__" not in row[0]:
            kept.append([row[0], record_hash(file), str(os.path.getsize(file))])
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(sorted(kept) + [[own, "", ""]])
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(out.getvalue())


def main():
    prefix, tree = sys.argv[1:]
    lib, bin_folder = os.path.join(tree, "lib"), os.path.join(tree, "bin")
    os.makedirs(lib)
    os.makedirs(bin_folder)
    for pattern in ("lib*/python*/site-packages", "lib*/python*/dist-packages", "local/lib*/python*/dist-packages"):
        for site in sorted(glob.glob(os.path.join(glob.escape(prefix), pattern))):
            if not os.path.islink(os.path.join(prefix, os.path.relpath(site, prefix).split(os.sep)[0])):
                merge(site, lib)
    for scripts in ("bin", "local/bin"):
        if os.path.isdir(os.path.join(prefix, scripts)):
            merge(os.path.join(prefix, scripts), bin_folder)
    for name in sorted(os.listdir(prefix)):
        if name not in ("bin", "lib", "lib64", "local", "include", "pyvenv.cfg"):
            merge(os.path.join(prefix, name), os.path.join(tree, name))
    for folder, folders, files in os.walk(lib):
        if "__pycache__" in folders:
            shutil.rmtree(os.path.join(folder, "__pycache__"))
            folders.remove("__pycache__")
        for name in files:
            if folder.endswith(".dist-info") and name in DROPPED:
                os.remove(os.path.join(folder, name))
    for name in sorted(os.listdir(bin_folder)):
        relocate(os.path.join(bin_folder, name))
        os.chmod(os.path.join(bin_folder, name), 0o755)
    entry_points(lib, bin_folder)
    for info in sorted(glob.glob(os.path.join(glob.escape(lib), "*.dist-info"))):
        with open(os.path.join(info, "INSTALLER"), "w", encoding="utf-8") as file:
            file.write("roadstead\n")
        record(info, lib)
    found = sorted((d.metadata["Name"], d.version) for d in distributions(path=[lib]))
    json.dump(found, sys.stdout)


main()
