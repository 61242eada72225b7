"""Which version of the ERP this is, and which release of it was deployed."""

import os
from pathlib import Path

VERSION = (
    (Path(__file__).resolve().parent.parent / "VERSION")
    .read_text(encoding="ascii")
    .strip()
)
RELEASE = os.environ.get("ROADSTEAD_RELEASE", "")
