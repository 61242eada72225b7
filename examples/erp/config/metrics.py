"""`/metrics`: what this instance has answered, added up over its workers."""

import os
import tempfile
from pathlib import Path


def share_between_workers():
    """Whichever worker is asked tells what all have counted: in files of the instance, whose workers have one parent."""
    folder = Path(tempfile.gettempdir(), f"erp-metrics-{os.getppid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", str(folder))
