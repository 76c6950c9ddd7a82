"""An address in front of a server on this machine, at which the server is away when a test says so."""

import contextlib
import socket
import threading

UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class Gate:
    """An address in front of a server, at which it is away while the gate is shut."""

    def __init__(self, port: int) -> None:
        """Open the gate; `port` is the server's."""
        self.behind, self.port = port, free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.words, self.left = b"", 0
        self.withheld = b""  # requests that begin with this are answered with 503
        self.hangs = False  # whether nothing is passed on
        self.shuts = 0  # how often it has shut by itself
        self.connections: set[socket.socket] = set()
        self.lock, self.listening = threading.Lock(), False
        self.open()

    def open(self) -> None:
        self.server = socket.create_server(("127.0.0.1", self.port))
        self.listening = True
        threading.Thread(target=self._accept, args=(self.server,), daemon=True).start()

    def shut(self) -> None:
        """Refuse connections, and cut off those that are open."""
        with self.lock:
            self.listening = False
            with contextlib.suppress(OSError):
                self.server.shutdown(socket.SHUT_RDWR)
            self.server.close()
            for connection in list(self.connections):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                connection.close()
            self.connections.clear()

    def shut_at(self, words: bytes, count: int = 1) -> None:
        """Shut when the request of this number arrives whose head begins with these words."""
        self.words, self.left = words, count

    def _accept(self, server: socket.socket) -> None:
        while self.listening:
            try:
                client, _ = server.accept()
                store = socket.create_connection(("127.0.0.1", self.behind))
            except OSError:
                return
            with self.lock:
                if not self.listening:
                    client.close()
                    store.close()
                    return
                self.connections |= {client, store}
            for ends in ((client, store), (store, client)):
                threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if self.words and data.startswith(self.words):
                    self.left -= 1
                    if self.left == 0:
                        self.words = b""
                        self.shuts += 1
                        self.shut()
                        return
                if self.hangs:
                    continue
                if self.withheld and data.startswith(self.withheld):
                    source.sendall(UNAVAILABLE)
                    continue
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
