"""Blob storage: Azurite over HTTPS behind our fault proxy, with a CA made on the spot."""
import base64
import datetime
import email.utils
import hashlib
import hmac
import http.client
import re
import signal
import ssl
import urllib.parse
import xml.etree.ElementTree
from dataclasses import dataclass
from pathlib import Path

from .paths import NODE
from .process import Process, free_port, run, wait_port
from .proxy import Proxy

# Azurite's published development account.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
VERSION = "2021-10-04"


@dataclass
class Blob:
    """A blob as the listing tells it."""

    name: str
    size: int
    content_type: str
    md5: str
    tier: str
    # When it was stored, seconds since 1970.
    created: float
    metadata: dict


class Storage:
    """An account at `https://127.0.0.1:PORT`, reached through `proxy`, with one container.

    `memory`: Azurite keeps all in memory and loses it when it ends; else it keeps it in a folder
    (where kill -9 can lose blobs it acknowledged in the last 5 s; `stop` and `restart` do not).
    """

    def __init__(self, folder, container="recordings", memory=True):
        self.folder = Path(folder)
        self.container = container
        self.memory = memory
        self.proxy = Proxy()
        self.ca = self.folder / "ca.crt"
        self._port = 0
        self._process = None

    def start(self):
        """Starts it and makes the container where it is missing."""
        if not self.ca.exists():
            make_certificates(self.folder)
        self._launch()
        self.create(self.container)

    def _launch(self):
        for _ in range(3):
            self._port = free_port()
            argv = [
                "node", NODE / "node_modules/azurite/dist/src/blob/main.js",
                "--blobHost", "127.0.0.1", "--blobPort", self._port, "--disableTelemetry",
                "--cert", self.folder / "server.crt", "--key", self.folder / "server.key",
            ]
            argv += ["--inMemoryPersistence"] if self.memory else ["-l", self.folder / "data"]
            self._process = Process(argv, self.folder / "azurite.log")
            if wait_port(self._port, 30, lambda: self._process.code is None):
                self.proxy.target = self._port
                return
            self._process.end()
        raise RuntimeError(f"Azurite does not start; see {self.folder / 'azurite.log'}")

    def stop(self):
        """Ends it with SIGTERM."""
        self.proxy.close()
        self.end()

    def end(self):
        """Ends Azurite alone, with SIGTERM; the proxy stays, so clients see a reset."""
        if self._process:
            self._process.end()
            self._process = None

    def restart(self):
        """Starts Azurite again after `end`; clients find it at the same address."""
        self._launch()
        self.create(self.container)

    def kill(self):
        """SIGKILL."""
        self._process.signal(signal.SIGKILL)
        self.end()

    def freeze(self):
        """SIGSTOP: connections are taken, nothing is answered."""
        self._process.signal(signal.SIGSTOP)

    def thaw(self):
        """Ends `freeze`."""
        self._process.signal(signal.SIGCONT)

    def url(self, container=None, permissions="c", start=-600, expiry=86_400, key=KEY,
            through_proxy=True):
        """A container's SAS URL; `start` and `expiry` in seconds from now."""
        container = container or self.container
        port = self.proxy.port if through_proxy else self._port
        fields = {"sp": permissions, "st": _time(start), "se": _time(expiry), "sv": VERSION,
                  "sr": "c"}
        # The documented string to sign of a service SAS, version 2020-12-06 and later.
        resource = f"/blob/{ACCOUNT}/{container}"
        text = [fields["sp"], fields["st"], fields["se"], resource, "", "", "", VERSION, "c",
                "", "", "", "", "", "", ""]
        fields["sig"] = _sign("\n".join(text), key)
        query = urllib.parse.urlencode(fields)
        return f"https://127.0.0.1:{port}/{ACCOUNT}/{container}?{query}"

    def wrong_url(self):
        """A container's SAS URL with a signature that does not fit."""
        return self.url(key=base64.b64encode(b"not the key").decode())

    def expired_url(self):
        """A container's SAS URL that ended an hour ago."""
        return self.url(start=-7200, expiry=-3600)

    def create(self, container):
        """Makes a container."""
        status, _, _ = self.request("PUT", container, query={"restype": "container"})
        if status not in (201, 409):
            raise RuntimeError(f"container {container}: {status}")

    def delete(self, container):
        """Removes a container and what is in it."""
        self.request("DELETE", container, query={"restype": "container"})

    def blobs(self, container=None):
        """Every blob of the container, by name."""
        found, marker = [], ""
        while True:
            status, _, body = self.request("GET", container or self.container, query={
                "restype": "container", "comp": "list", "include": "metadata", "marker": marker})
            if status != 200:
                raise RuntimeError(f"listing: {status}")
            page = xml.etree.ElementTree.fromstring(body)
            found += [_blob(one) for one in page.iter("Blob")]
            marker = page.findtext("NextMarker")
            if not marker:
                return found

    def names(self, container=None):
        """Every blob's name, in order."""
        return [one.name for one in self.blobs(container)]

    def get(self, name, container=None):
        """A blob's content."""
        status, _, body = self.request("GET", f"{container or self.container}/{name}")
        if status != 200:
            raise RuntimeError(f"{name}: {status}")
        return body

    def put(self, name, body, headers=None):
        """Put Blob, as the owner of the account."""
        headers = {"x-ms-blob-type": "BlockBlob", **(headers or {})}
        return self.request("PUT", f"{self.container}/{name}", body=body, headers=headers)[0]

    def put_order(self):
        """Names of the blobs in the order in which Azurite acknowledged them."""
        log = (self.folder / "azurite.log").read_text(errors="replace")
        pattern = rf'"PUT /{ACCOUNT}/{self.container}/([^? ]+)[^"]*" 201'
        return [urllib.parse.unquote(name) for name in re.findall(pattern, log)]

    def request(self, method, path, query=None, body=b"", headers=None):
        """One request straight to Azurite, past the proxy: (status, headers, body)."""
        fields = {"sv": VERSION, "ss": "b", "srt": "sco", "sp": "rwdlac", "st": _time(-600),
                  "se": _time(86_400)}
        # The documented string to sign of an account SAS, version 2020-12-06 and later.
        text = [ACCOUNT, fields["sp"], "b", "sco", fields["st"], fields["se"], "", "", VERSION, "",
                ""]
        fields["sig"] = _sign("\n".join(text), KEY)
        url = f"/{ACCOUNT}/{urllib.parse.quote(path)}?{urllib.parse.urlencode(fields)}"
        if query:
            url += "&" + urllib.parse.urlencode(query)
        context = ssl.create_default_context(cafile=self.ca)
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, timeout=30,
                                                 context=context)
        try:
            connection.request(method, url, body, {"x-ms-version": VERSION, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()


def make_certificates(folder):
    """`ca.crt`, and `server.crt` with `server.key`, signed by it, for this machine's loopback.

    10.0.2.2 is the name that it has in an emulated gateway.
    """
    for name in ("ca", "server"):
        run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out",
             folder / f"{name}.key"], check=True)
    run(["openssl", "req", "-x509", "-new", "-key", folder / "ca.key", "-days", "30", "-out",
         folder / "ca.crt", "-subj", "/CN=rig CA"], check=True)
    run(["openssl", "req", "-new", "-key", folder / "server.key", "-out", folder / "server.csr",
         "-subj", "/CN=rig storage"], check=True)
    extensions = folder / "server.ext"
    extensions.write_text(
        "subjectAltName=IP:127.0.0.1,IP:10.0.2.2,DNS:localhost,DNS:*.blob.localhost\n"
        "basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n")
    run(["openssl", "x509", "-req", "-in", folder / "server.csr", "-CA", folder / "ca.crt",
         "-CAkey", folder / "ca.key", "-CAcreateserial", "-days", "30", "-extfile", extensions,
         "-out", folder / "server.crt"], check=True)


def _blob(element):
    metadata = element.find("Metadata")
    return Blob(
        name=element.findtext("Name"),
        size=int(element.findtext("Properties/Content-Length")),
        content_type=element.findtext("Properties/Content-Type"),
        md5=element.findtext("Properties/Content-MD5"),
        tier=element.findtext("Properties/AccessTier"),
        created=email.utils.parsedate_to_datetime(
            element.findtext("Properties/Creation-Time")).timestamp(),
        metadata={one.tag.lower(): one.text or "" for one in metadata}
        if metadata is not None else {},
    )


def _sign(text, key):
    return base64.b64encode(
        hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()).decode()


def _time(seconds):
    now = datetime.datetime.now(datetime.timezone.utc)
    return (now + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
