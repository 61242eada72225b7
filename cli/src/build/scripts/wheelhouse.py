"""Puts wheels into a folder, with a lock that pip and uv can hold them against.

Reads {"wheels": [{"name": ..., "version": ..., "path": ..., "made_here": ...}], "folder": ...} from standard input. A wheel that was built
on this machine is packed anew, so that it is the same whenever and wherever it is built from the same source: sorted, without times,
not compressed (what carries it compresses, and compressors differ). Wheels of an index stay what they are.
"""

import csv
import hashlib
import io
import json
import os
import shutil
import sys
import zipfile


def pack_anew(source, target):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for item in sorted(old.infolist(), key=lambda item: item.filename):
            if item.is_dir():
                continue
            content = old.read(item)
            if item.filename.endswith(".dist-info/RECORD"):
                out = io.StringIO()
                rows = sorted(csv.reader(io.StringIO(content.decode())))
                csv.writer(out, lineterminator="\n").writerows(rows)
                content = out.getvalue().encode()
            fresh = zipfile.ZipInfo(item.filename, (1980, 1, 1, 0, 0, 0))
            executable = (item.external_attr >> 16) & 0o111
            fresh.external_attr = (0o100755 if executable else 0o100644) << 16
            new.writestr(fresh, content)


def main():
    job = json.load(sys.stdin)
    os.makedirs(job["folder"], exist_ok=True)
    lines = []
    for wheel in job["wheels"]:
        target = os.path.join(job["folder"], os.path.basename(wheel["path"]))
        if wheel["made_here"]:
            pack_anew(wheel["path"], target)
        else:
            shutil.copyfile(wheel["path"], target)
        os.chmod(target, 0o644)
        with open(target, "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        lines.append("%s==%s --hash=sha256:%s\n" % (wheel["name"], wheel["version"], digest))
    with open(os.path.join(job["folder"], "lock.txt"), "w", encoding="utf-8") as file:
        file.writelines(sorted(lines))


main()
