"""Players: each plays a file or a playlist to its end and gives back its complaints."""
import json
import os
import re
import shutil
from pathlib import Path

from .paths import NODE
from .process import run

# ffmpeg shows each picture at its own time, in the file's units: in pictures of the nominal rate,
# which it would use, two pictures of a steered timeline can come to stand at one place.
AS_TIMED = ("-fps_mode", "passthrough", "-enc_time_base", "-1")
# What VLC says about itself, about the lack of a desktop, on a busy machine, at any ordinary MP4 file or init
# segment, and when its prefetcher asks an HTTP server for what lies behind a file's end. Its first fragment ever is a "discontinuity" to it; a later one is a complaint.
VLC_NOISE = re.compile(
    r"globalhotkeys|no suitable interface module|elst box found|elst old=|table of \d+ entries"
    r"|decoded zero sample|picture (is too|might be displayed) late|prefetch stream error: cannot seek|no chunk defined|doesn't look interleaved|discontinuity .* != 0$")
VLC_COMPLAINT = re.compile(r" (warning|error): |discontinuity")
# What GStreamer says at any ordinary MP4 file.
GSTREAMER_NOISE = re.compile(r"pad not activated yet|failed to find fragment defaults")


def ffmpeg(url):
    """Decodes all of it; (pictures, complaints)."""
    done = run(["ffmpeg", "-v", "warning", "-i", url, *AS_TIMED,
                "-f", "null", "-progress", "pipe:1", "-"], 120)
    frames = re.findall(r"^frame=(\d+)", done.stdout, re.M)
    complaints = [line for line in done.stderr.splitlines() if line.strip()]
    if done.returncode:
        complaints.append(f"exit code {done.returncode}")
    return int(frames[-1]) if frames else 0, complaints


def opening(line):
    """ffmpeg tells the opening of each file of a playlist; that is no complaint."""
    return re.search(r"Opening '.*' for reading", line) is not None


def vlc(url, folder, seconds):
    """Plays it in real time, at most `seconds`; its complaints.

    VLC refuses to run as root, so it runs as nobody, who needs a home of his own.
    """
    home = Path(folder) / "vlc"
    home.mkdir(parents=True, exist_ok=True)
    argv = ["cvlc", "-I", "dummy", "--vout", "vdummy", "--aout", "adummy", "--no-dbus",
            "--no-metadata-network-access", "--avcodec-hw", "none", "--play-and-exit",
            "--run-time", str(seconds), "--verbose", "1", str(url)]
    if os.geteuid() == 0:
        shutil.chown(home, "nobody")
        argv = ["setpriv", "--reuid=nobody", "--clear-groups", "--", *argv]
    env = {**os.environ, "HOME": str(home), "LC_ALL": "C"}
    done = run(argv, seconds + 60, env=env, cwd="/")
    lines = done.stderr.splitlines()
    complaints = [line for line in lines
                  if VLC_COMPLAINT.search(line) and not VLC_NOISE.search(line)]
    if done.returncode:
        complaints.append(f"exit code {done.returncode}")
    return complaints


def gstreamer(path):
    """Decodes all of it; (pictures, complaints)."""
    launch = [
        "gst-launch-1.0", "-v", "filesrc", f"location={path}", "!", "qtdemux", "name=demux",
        "demux.video_0", "!", "queue", "!", "h264parse", "!", "avdec_h264", "!", "fakesink",
        "name=pictures", "silent=false", "sync=false",
        "demux.audio_0", "!", "queue", "!", "aacparse", "!", "avdec_aac", "!", "fakesink",
        "sync=false",
    ]
    env = {**os.environ, "GST_DEBUG": "*:2", "GST_DEBUG_NO_COLOR": "1", "LC_ALL": "C"}
    done = run(launch, 120, env=env)
    pictures = len(re.findall(r"pictures: last-message = chain ", done.stdout))
    complaints = [line for line in done.stderr.splitlines()
                  if re.search(r"WARN|ERROR", line) and not GSTREAMER_NOISE.search(line)]
    if done.returncode:
        complaints.append(f"exit code {done.returncode}")
    return pictures, complaints


def chromium(server, url, hls=False, seconds=60):
    """Plays `url` in headless Chromium, plainly or by hls.js, and seeks in it.

    Gives what the page saw: `duration`, `ended`, `pictures`, `dropped`, `seeks` (asked, shown),
    `buffered`, `complaints`.
    """
    script = Path(__file__).with_name("play.mjs")
    done = run(["node", script, NODE, server, url, "hls" if hls else "plain", str(seconds)],
               seconds + 60)
    if done.returncode:
        raise RuntimeError(f"Chromium: {done.stderr[-2000:]}")
    return json.loads(done.stdout)
