"""Storage that misbehaves in HTTP: a reverse proxy that answers for Azurite on request."""
import contextlib
import http.client
import http.server
import ssl
import threading
import time
import urllib.parse
from dataclasses import dataclass, field


@dataclass
class Fault:
    """What happens to a Put Blob whose name ends with `name`, the first `times` times (None: always).

    With `status` it is answered so and never reaches Azurite; without, it is stored and the
    answer is lost.
    """

    name: str
    status: int = 0
    code: str = ""
    headers: dict = field(default_factory=dict)
    times: int | None = None


class Faults:
    """Stands between a storage's proxy and Azurite, with the storage's own certificate.

    `faults` can change at any time; the first that fits is taken. `puts` is what came and went:
    (name, status or None where the answer was lost, when), in order.
    """

    def __init__(self, storage):
        self.faults = []
        self.puts = []
        self._lock = threading.Lock()
        self._azurite = storage.proxy.target
        self._trusted = ssl.create_default_context(cafile=storage.ca)
        self._container = storage.container
        own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        own.load_cert_chain(storage.folder / "server.crt", storage.folder / "server.key")
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._server.context = own
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        storage.proxy.target = self._server.server_address[1]

    def stop(self):
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()

    def tries(self, name):
        """The Put Blobs of the blob whose name ends with `name`: [(status, when)]."""
        return [(status, when) for one, status, when in self.puts if one.endswith(name)]

    def take(self, name):
        """The fault that befalls this Put Blob, or None."""
        with self._lock:
            for fault in self.faults:
                if name.endswith(fault.name) and fault.times != 0:
                    if fault.times:
                        fault.times -= 1
                    return fault
        return None

    def note(self, name, status):
        """A Put Blob was answered."""
        self.puts.append((name, status, time.monotonic()))

    def blob(self, path):
        """The blob that a request's path names."""
        path = urllib.parse.unquote(urllib.parse.urlsplit(path).path)
        return path.partition(f"/{self._container}/")[2]

    def forward(self, method, path, headers, body):
        """Azurite's answer: (status, headers, body)."""
        connection = http.client.HTTPSConnection("127.0.0.1", self._azurite, timeout=60,
                                                 context=self._trusted)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def finish_request(self, request, client_address):
        # In the connection's own thread: a client that never says hello stops no other.
        with contextlib.suppress(OSError), self.context.wrap_socket(request, True) as secure:
            super().finish_request(secure, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self):  # The name is http.server's.
        owner = self.server.owner
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        name = owner.blob(self.path)
        fault = owner.take(name)
        if fault and fault.status:
            owner.note(name, fault.status)
            code = {"x-ms-error-code": fault.code} if fault.code else {}
            return self._answer(fault.status, fault.headers | code, b"")
        headers = {key: value for key, value in self.headers.items() if key.lower() != "host"}
        status, headers, answer = owner.forward("PUT", self.path, headers, body)
        if fault:
            owner.note(name, None)
            self.close_connection = True
            return None
        owner.note(name, status)
        return self._answer(status, {key: value for key, value in headers.items()
                                     if key.lower() not in HOP_BY_HOP}, answer)

    def _answer(self, status, headers, body):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Nothing: a request line holds the SAS."""


# What belongs to one connection and not to the answer.
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}
