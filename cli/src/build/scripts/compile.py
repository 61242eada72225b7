"""Compiles the modules below a folder into unchecked-hash bytecode, the same bytes every time.

Reads {"folder": ..., "files": [...], "into": ...} from standard input; writes INTO/DIR/__pycache__/NAME.TAG.pyc for each file and
prints the files that are no valid Python. marshal writes whether an object is shared by looking at its reference count, and interned
strings are shared with whatever else the process has seen; so every object is given a second reference first.
"""

import _imp
import importlib.util
import json
import os
import sys
from importlib._bootstrap_external import _RAW_MAGIC_NUMBER, _code_to_hash_pyc


def hold(value, held):
    held.append(value)
    if isinstance(value, (tuple, frozenset)):
        for item in value:
            hold(item, held)
    elif hasattr(value, "co_consts"):
        for name in ("co_consts", "co_names", "co_varnames", "co_freevars", "co_cellvars", "co_name", "co_filename", "co_qualname"):
            hold(getattr(value, name, None), held)


def compile_one(folder, into, name):
    path = os.path.join(folder, name)
    with open(path, "rb") as file:
        source = file.read()
    code = compile(source, name, "exec", dont_inherit=True, optimize=0)
    held = []
    hold(code, held)
    data = _code_to_hash_pyc(code, _imp.source_hash(_RAW_MAGIC_NUMBER, source), False)
    target = os.path.join(into, os.path.dirname(name), "__pycache__", os.path.basename(name)[:-3] + "." + sys.implementation.cache_tag + ".pyc")
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "wb") as file:
        file.write(data)


def main():
    sys.setrecursionlimit(20000)
    job = json.load(sys.stdin)
    broken = []
    for name in job["files"]:
        try:
            compile_one(job["folder"], job["into"], name)
        except (SyntaxError, ValueError, RecursionError, UnicodeError) as error:
            broken.append([name, str(error)])
    json.dump(broken, sys.stdout)


main()
