# Installs a release's wheels into a virtual environment that has a Python and nothing else yet, by uv or by a pip that runs out of
# its own wheel. Nothing is fetched: what is not there, or has another hash than the lock says, is an error. No code of the packages
# runs. Scripts are made to name the environment's final place, and modules are compiled once, for good.
import json
import os
import subprocess
import sys


def install(job, python):
    lock = os.path.join(job["wheels"], "lock.txt")
    with open(lock, encoding="utf-8") as file:
        if not file.read().strip():
            return
    what = ["--no-index", "--find-links", job["wheels"], "--require-hashes", "--no-deps", "--requirement", lock]
    if job["installer"] == "uv":
        options = ["--python", python, "--offline", "--no-cache", "--no-config", "--no-progress", "--link-mode", "copy"]
        command = [job["program"], "pip", "install"] + options + what
    else:
        options = ["--no-cache-dir", "--no-compile", "--no-input", "--disable-pip-version-check", "--no-warn-script-location"]
        command = [python, os.path.join(job["program"], "pip"), "--isolated", "install", "--quiet"] + options + what
    ended = subprocess.run(command, env={"HOME": "/tmp", "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"})
    if ended.returncode != 0:
        sys.exit("%s could not install the wheels" % job["installer"])


def rename(job):
    """A script names its Python by the whole path: that of the place where it was made."""
    folder = os.path.join(job["fresh"], "bin")
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.path.islink(path) or not os.path.isfile(path):
            continue
        with open(path, "rb") as file:
            lines = file.read().split(b"\n", 3)
        changed = [line.replace(job["fresh"].encode(), job["final"].encode()) for line in lines[:3]] + lines[3:]
        if changed != lines:
            with open(path, "wb") as file:
                file.write(b"\n".join(changed))


def compile_all(job, python):
    options = ["-q", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash"]
    if sys.version_info >= (3, 9):
        options += ["-s", job["fresh"], "-p", job["final"]]
    # Templates of old Pythons and the like cannot be compiled; what is needed of them says so when it is imported.
    subprocess.run([python, "-I", "-m", "compileall"] + options + [os.path.join(job["fresh"], "lib")])


def main():
    job = json.loads(sys.argv[1])
    python = os.path.join(job["fresh"], "bin", "python")
    install(job, python)
    rename(job)
    compile_all(job, python)


main()
