"""Installs what the rig needs: Debian packages and node modules. Fast where all is there."""
import json
import os
import shutil
import subprocess
import sys

from .paths import CACHE, NODE

PACKAGES = """
    mtools fdisk e2fsprogs kmod cpio binutils qemu-system-arm
    ffmpeg openssl util-linux nodejs npm python3-gi gir1.2-gstreamer-1.0
    gir1.2-gst-rtsp-server-1.0 gstreamer1.0-tools gstreamer1.0-plugins-base
    gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly
    gstreamer1.0-libav gstreamer1.0-rtsp gstreamer1.0-x glib-networking vlc-bin vlc-plugin-base
    chromium fonts-dejavu-core libfaketime
""".split()
MODULES = {"azurite": "3.37.0", "hls.js": "1.7.4", "playwright-core": "1.65.1"}


def setup():
    """Installs what is missing."""
    CACHE.mkdir(parents=True, exist_ok=True)
    missing = [name for name in PACKAGES if not installed(name)]
    if missing:
        print("installing", *missing, flush=True)
        root = [] if os.geteuid() == 0 else ["sudo"]
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run([*root, "apt-get", "update", "-qq"], check=True, env=env)
        subprocess.run([*root, "apt-get", "install", "-y", "-qq", "--no-install-recommends",
                        *missing], check=True, env=env, stdout=subprocess.DEVNULL)
    if any(version(name) != wanted for name, wanted in MODULES.items()):
        print("installing", *MODULES, flush=True)
        NODE.mkdir(parents=True, exist_ok=True)
        (NODE / "package.json").write_text(
            json.dumps({"private": True, "dependencies": MODULES}, indent=2))
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"],
                       cwd=NODE, check=True, stdout=subprocess.DEVNULL)


def installed(name):
    """A Debian package is there, or, for node, a program from elsewhere."""
    if name in ("nodejs", "npm"):
        return shutil.which("node") is not None and shutil.which("npm") is not None
    done = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status}", name],
                          capture_output=True, text=True)
    return done.stdout == "installed"


def version(name):
    """The version of a node module in the cache, or None."""
    try:
        return json.loads((NODE / "node_modules" / name / "package.json").read_text())["version"]
    except OSError:
        return None


if __name__ == "__main__":
    sys.exit(setup())
