"""A TCP proxy that misbehaves on request."""
import contextlib
import socket
import struct
import threading
import time


class Proxy:
    """Forwards 127.0.0.1:`port` to `target`; how well, its fields say. All can change at any time.

    `stalled`: nothing moves, connections stay. `rate`: bytes a second to the target, of all
    connections together, or None. `cut_after`: a connection is reset once it has carried so many
    bytes to the target, or None. `sent` and `received` count bytes to and from the target.
    """

    def __init__(self):
        self.target = None
        self.stalled = False
        self.rate = None
        self.cut_after = None
        self.sent = self.received = 0
        self.connections = 0
        self._lock = threading.Lock()
        self._budget = (time.monotonic(), 0.0)
        self._open = set()
        self._socket = self._bind(0)
        self.port = self._socket.getsockname()[1]
        self.accept()

    def accept(self):
        """Lets clients in (again)."""
        self._socket.listen(64)
        threading.Thread(target=self._serve, args=(self._socket,), daemon=True).start()

    def refuse(self):
        """Resets every connection and refuses new ones, until `accept`."""
        old, port = self._socket, self.port
        with contextlib.suppress(OSError):
            old.shutdown(socket.SHUT_RDWR)
        old.close()
        # Bound, not listening: the kernel refuses, and the port stays ours.
        self._socket = self._bind(port)
        self.reset()

    def reset(self):
        """Resets every open connection."""
        with self._lock:
            pairs = list(self._open)
        for pair in pairs:
            self._abort(pair)

    def close(self):
        """Ends it."""
        self.refuse()
        self._socket.close()

    @staticmethod
    def _bind(port):
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Small buffers, so that a slow line is felt and not hidden in the kernel.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        end = time.monotonic() + 5
        while True:
            try:
                one.bind(("127.0.0.1", port))
                return one
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def _serve(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                server = socket.create_connection(("127.0.0.1", self.target), 5)
            except OSError:
                self._abort((client,))
                continue
            server.settimeout(None)
            pair = (client, server)
            with self._lock:
                self._open.add(pair)
            threading.Thread(target=self._pump, args=(pair, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(pair, False), daemon=True).start()

    def _pump(self, pair, upstream):
        source, sink = pair if upstream else reversed(pair)
        carried = 0
        try:
            while True:
                data = source.recv(16 * 1024)
                while self.stalled:
                    time.sleep(0.05)
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                if upstream:
                    self._pace(len(data))
                    self.sent += len(data)
                else:
                    self.received += len(data)
                carried += len(data)
                if upstream and self.cut_after is not None and carried > self.cut_after:
                    self._abort(pair)
                    return
                sink.sendall(data)
        except OSError:
            self._abort(pair)

    def _pace(self, size):
        while self.rate:
            with self._lock:
                now = time.monotonic()
                last, tokens = self._budget
                tokens = min(tokens + (now - last) * self.rate, self.rate / 10)
                if tokens > 0:
                    self._budget = (now, tokens - size)
                    return
                self._budget = (now, tokens)
            time.sleep(0.01)

    def _abort(self, pair):
        with self._lock:
            self._open.discard(pair)
        for one in pair:
            with contextlib.suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
