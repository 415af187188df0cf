"""Builds the binaries under test."""
import os
import subprocess

from .paths import BINARY, ROOT
from .process import run


def build():
    """The release build with short segments, in a folder of its own; nothing if one is given."""
    if "CVR_E2E_BINARY" not in os.environ:
        subprocess.run(
            ["cargo", "build", "--release", "--quiet", "--features", "short-segments",
             "--target-dir", BINARY.parents[1]], cwd=ROOT, check=True)


def build_board(arch):
    """The gateway's own release binary, as board/image puts it on the card."""
    if "CVR_E2E_BINARY" not in os.environ:
        run([ROOT / "board/build", arch], 2400, check=True)
