"""pip, with markers that hold for every patch release of the app's Python.

A host's Python may be 3.11.2 while the builder's is 3.11.9. A package that is wanted by any of them (such as
`async-timeout; python_full_version < "3.11.3"`) belongs into the release, and the lock is the same whoever makes it. Where the
builder has not the app's Python at all, ROADSTEAD_TARGET_PYTHON names it: pip's own options choose archives for another Python, but
its markers speak of the one that runs it.
"""

import os
import runpy
import sys

from pip._vendor.packaging.markers import Marker

SERIES = os.environ.pop("ROADSTEAD_TARGET_PYTHON", None) or "%d.%d" % sys.version_info[:2]
evaluate = Marker.evaluate


def evaluate_for_any_patch(self, environment=None, *rest, **named):
    patched = [
        dict(environment or {}, python_version=SERIES, python_full_version="%s.%d" % (SERIES, patch), implementation_version="%s.%d" % (SERIES, patch))
        for patch in (0, 99)
    ]
    return any(evaluate(self, each, *rest, **named) for each in patched)


Marker.evaluate = evaluate_for_any_patch
sys.argv[0] = "pip"
runpy.run_module("pip", run_name="__main__", alter_sys=True)
