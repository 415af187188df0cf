"""Where things are."""
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "tests" / ".cache"
NODE = CACHE / "node"
# The build with segments from PT1S; apart, so that the plain release binary is never this one.
BINARY = ROOT / "target" / "e2e" / "release" / "cvr"
# The Python that has `gi`: Debian's, not the first on the PATH.
PYTHON = "/usr/bin/python3"
