"""An HLS playlist of blobs, from their names and metadata alone, and a server to play it from."""
import http.server
import os
import re
import threading
import urllib.parse
from pathlib import Path

TYPES = {".mp4": "video/mp4", ".m3u8": "application/vnd.apple.mpegurl", ".html": "text/html",
         ".js": "text/javascript", ".mjs": "text/javascript"}


def hls(segments):
    """A playlist (RFC 8216) of byte ranges over a run of blobs without a hole."""
    longest = max(one.end - one.start for one in segments)
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-PLAYLIST-TYPE:VOD",
             f"#EXT-X-TARGETDURATION:{-(-longest // 1000)}", "#EXT-X-MEDIA-SEQUENCE:0"]
    init = None
    for one in segments:
        offset, length = one.init
        uri = urllib.parse.quote(one.name)
        rest = one.blob.size - offset - length
        # A second map with the same content would make ffmpeg warn of a duplicated moov.
        if one.metadata["initid"] != init:
            init = one.metadata["initid"]
            lines.append(f'#EXT-X-MAP:URI="{uri}",BYTERANGE="{length}@{offset}"')
        lines += [
            f"#EXT-X-PROGRAM-DATE-TIME:{one.metadata['start']}",
            f"#EXTINF:{(one.end - one.start) / 1000:.3f},",
            f"#EXT-X-BYTERANGE:{rest}@{offset + length}",
            uri,
        ]
    return "\n".join([*lines, "#EXT-X-ENDLIST", ""])


class Server:
    """Serves the files of `folders` (the first that has it) with byte ranges; `url` is its root."""

    def __init__(self, *folders):
        roots = [Path(one).resolve() for one in folders]

        class Handler(_Handler):
            """The handler for these folders."""

            folders = roots

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._server.shutdown()
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folders = []

    def log_message(self, *_):
        """Silent."""

    def do_HEAD(self):  # noqa: N802
        """The head alone."""
        self._answer(False)

    def do_GET(self):  # noqa: N802
        """A file, whole or a range of it (RFC 9110 section 14)."""
        self._answer(True)

    def _answer(self, with_body):
        name = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).lstrip("/")
        found = [one / name for one in self.folders if (one / name).is_file()]
        if not found or ".." in name:
            self.send_response(204 if name == "favicon.ico" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        size = os.path.getsize(found[0])
        first, last, status = 0, size - 1, 200
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked:
            first, status = int(asked[1]), 206
            last = min(int(asked[2]) if asked[2] else last, last)
        self.send_response(status)
        self.send_header("Content-Type", TYPES.get(found[0].suffix, "application/octet-stream"))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Content-Length", str(last - first + 1))
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if with_body:
            with open(found[0], "rb") as file:
                file.seek(first)
                try:
                    self.wfile.write(file.read(last - first + 1))
                except OSError:
                    self.close_connection = True
