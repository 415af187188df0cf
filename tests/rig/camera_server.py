"""The camera's process; see camera.py. Run with the Python that has `gi`."""
import json
import sys
import threading
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

from rig.clip import Clip  # noqa: E402


class Feeder:
    """Pushes a clip into one media's `appsrc`s at its pace until the media ends."""

    def __init__(self, loaded, born, media):
        self.loaded = loaded
        self.stopped = threading.Event()
        clip = loaded.clip
        element = media.get_element()
        self.video = element.get_by_name("video")
        self.audio = element.get_by_name("audio")
        # Enter the endless loop where a camera switched on at `born` will be at its next sync
        # sample: picture N is sent N / fps seconds after `born`, whoever came and went.
        elapsed = max(0.0, time.time() - born)
        self.first = -(-int(elapsed * clip.fps + 1) // clip.gop) * clip.gop
        self.wait = self.first / clip.fps - elapsed
        # B-pictures: output lags decoding by this many pictures, in whole clips alike.
        self.lag = max(0, -min(p.order - i for i, p in enumerate(loaded.pictures)))
        media.connect("unprepared", lambda _: self.stopped.set())
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        clip, start = self.loaded.clip, time.monotonic() + self.wait
        pictures = frames = 0
        # The first audio frame that begins at or after the first picture.
        first_frame = -(-self.first * clip.audio // (clip.fps * 1024)) if clip.audio else 0
        while not self.stopped.is_set():
            video_due = pictures / clip.fps
            if clip.audio:
                audio_due = (first_frame + frames) * 1024 / clip.audio - self.first / clip.fps
            else:
                audio_due = float("inf")
            due = min(video_due, audio_due)
            wait = start + due - time.monotonic()
            if wait > 0 and self.stopped.wait(wait):
                return
            if video_due <= audio_due:
                flow = self._push_picture(self.first + pictures, video_due)
                pictures += 1
            else:
                flow = self._push_frame(first_frame + frames, audio_due)
                frames += 1
            if flow not in (Gst.FlowReturn.OK, None):
                return

    def _push_picture(self, counter, due):
        pictures = self.loaded.pictures
        at = counter % len(pictures)
        picture = pictures[at]
        fps = self.loaded.clip.fps
        data = picture.annex_b(counter, time.time_ns() // 1000)
        buffer = Gst.Buffer.new_wrapped(data)
        buffer.dts = int((self.wait + due) * Gst.SECOND)
        buffer.pts = int((self.wait + due + (picture.order - at + self.lag) / fps) * Gst.SECOND)
        buffer.duration = Gst.SECOND // fps
        return self.video.emit("push-buffer", buffer)

    def _push_frame(self, counter, due):
        frames = self.loaded.frames
        buffer = Gst.Buffer.new_wrapped(frames[counter % len(frames)])
        buffer.pts = buffer.dts = int((self.wait + due) * Gst.SECOND)
        buffer.duration = 1024 * Gst.SECOND // self.loaded.clip.audio
        return self.audio.emit("push-buffer", buffer)


def clip_pipeline(loaded):
    """Two `appsrc`s with their payloaders."""
    clip = loaded.clip
    width, height = clip.size.split("x")
    launch = (
        "appsrc name=video is-live=true format=time max-bytes=16000000 "
        "caps=video/x-h264,stream-format=byte-stream,alignment=au,"
        f"width={width},height={height},framerate={clip.fps}/1 "
        "! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1 aggregate-mode=none"
    )
    if clip.audio:
        launch += (
            " appsrc name=audio is-live=true format=time "
            "caps=audio/mpeg,mpegversion=4,stream-format=raw,"
            f"rate={clip.audio},channels={clip.channels},"
            f"codec_data=(buffer){loaded.audio_config.hex()} "
            "! rtpmp4gpay name=pay1 pt=97"
        )
    return f"( {launch} )"


def live_pipeline(live):
    """A moving picture with burnt-in time, encoded as it goes."""
    size, fps = live.get("size", "640x360"), live.get("fps", 15)
    width, height = size.split("x")
    launch = (
        "videotestsrc is-live=true pattern=ball motion=sweep "
        f"! video/x-raw,format=I420,width={width},height={height},framerate={fps}/1 "
        f"! clockoverlay time-format=\"{live.get('title', 'front door')}  %Y-%m-%d %H:%M:%S\" "
        "halignment=left valignment=top font-desc=\"Sans 22\" shaded-background=true "
        "! timeoverlay halignment=right valignment=bottom font-desc=\"Sans 22\" "
        # More threads, more slices a picture, each slice of a sync picture with parameter sets.
        f"! x264enc tune=zerolatency speed-preset=ultrafast threads={live.get('threads', 1)} "
        f"bitrate={live.get('kbps', 600)} key-int-max={live.get('gop', fps)} "
        "! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1"
    )
    if live.get("audio", True):
        launch += (
            " audiotestsrc is-live=true wave=ticks volume=0.3 "
            "! audio/x-raw,rate=48000,channels=1 ! avenc_aac bitrate=64000 ! aacparse "
            "! rtpmp4gpay name=pay1 pt=97"
        )
    return f"( {launch} )"


def protect(server, factory, options):
    """Users, and TLS where asked for."""
    auth = GstRtspServer.RTSPAuth.new()
    if options["tls"]:
        certificate = Gio.TlsCertificate.new_from_files(*options["tls"])
        auth.set_tls_certificate(certificate)
    token = GstRtspServer.RTSPToken.new()
    token.set_string("media.factory.role", "user")
    if options["auth"] == "digest":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(options["user"], options["password"], token)
    elif options["auth"] == "basic":
        basic = GstRtspServer.RTSPAuth.make_basic(options["user"], options["password"])
        auth.add_basic(basic, token)
    else:
        auth.set_default_token(token)
    role = "user, media.factory.access=(boolean)true, media.factory.construct=(boolean)true"
    factory.add_role_from_structure(Gst.Structure.new_from_string(role))
    server.set_auth(auth)


def main():
    """Serves until killed; prints `port N` when it is ready."""
    options = json.loads(sys.argv[1])
    Gst.init(None)
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(str(options["port"]))
    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_shared(True)
    if options["clip"]:
        loaded = Clip(**options["clip"]).load()
        factory.set_launch(clip_pipeline(loaded))
        factory.connect("media-configure",
                        lambda _, media: Feeder(loaded, options["born"], media))
    else:
        factory.set_launch(live_pipeline(options["live"]))
    if options["auth"] or options["tls"]:
        protect(server, factory, options)
    server.get_mount_points().add_factory("/stream1", factory)
    if server.attach(None) == 0:
        sys.exit(f"port {options['port']} is taken")
    print("port", server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
