"""A real HTTP server that keeps what is posted to it, answering as told."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from campaign.domain.calls import WebhookDelivery


class Receiver:
    """``statuses`` are answered in turn, then 200. ``wait_for`` blocks until so many deliveries have come."""

    def __init__(self, url: str, statuses: list[int]) -> None:
        self.url = url
        self.statuses = statuses
        self.deliveries: list[WebhookDelivery] = []
        self._news = threading.Condition()

    def take(self, delivery: WebhookDelivery) -> int:
        with self._news:
            self.deliveries.append(delivery)
            self._news.notify_all()
            return self.statuses.pop(0) if self.statuses else 200

    def wait_for(self, count: int, within: float = 5.0) -> list[WebhookDelivery]:
        with self._news:
            came = self._news.wait_for(lambda: len(self.deliveries) >= count, within)
            assert came, f"{len(self.deliveries)} of {count} deliveries came"
            return list(self.deliveries)


@contextmanager
def receiving(*statuses: int) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            query = dict(parse_qsl(urlsplit(self.path).query))
            status = receiver.take(WebhookDelivery(headers, query, body, 0.0, verified=True))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}/hooks/recall", list(statuses))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
