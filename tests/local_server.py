"""A web server on 127.0.0.1, in place of the internet; it can break a transfer halfway."""

import hashlib
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Page:
    """A body, its headers, and the number of transfers still to be broken halfway."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    breaks: int = 0
    status: int = 200


class LocalServer:
    """Pages by path; `requests` lists the requests, as 'GET /path'."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.requests: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def hub_file(
        self,
        kind: str,
        repository: str,
        revision: str,
        name: str,
        body: bytes,
        *,
        etag: str | None = None,
        breaks: int = 0,
    ) -> None:
        """Serve a file like the Hub's resolve address.

        Its ETag is the git blob id, or the sha256 for safetensors (a large file).
        """
        git = hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()
        digest = hashlib.sha256(body).hexdigest() if name.endswith(".safetensors") else git
        prefix = "datasets/" if kind == "dataset" else ""
        headers = {"ETag": f'"{etag or digest}"', "X-Repo-Commit": revision}
        self.pages[f"/{prefix}{repository}/resolve/{revision}/{name}"] = Page(body, headers, breaks)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append(f"{self.command} {self.path}")
                page = outer.pages.get(
                    self.path, Page(b"not here", {"X-Error-Code": "EntryNotFound"}, status=404)
                )
                self.send_response(page.status)
                headers = {
                    "Content-Type": "application/octet-stream",
                    **page.headers,
                    "Content-Length": str(len(page.body)),
                }
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "HEAD":
                    return
                if page.breaks:
                    page.breaks -= 1
                    self.wfile.write(page.body[: len(page.body) // 2])
                    self.close_connection = True
                else:
                    self.wfile.write(page.body)

            def do_HEAD(self) -> None:
                self.do_GET()

            def log_message(self, *args: object) -> None:
                pass

        return Handler
