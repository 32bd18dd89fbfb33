"""``POST /hooks/LINE`` over a real socket: who may deliver, what is kept of it, and what a provider is told."""

import http.client
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from campaign.config import Settings, load_lines, load_settings
from campaign.console.app import make_app
from campaign.console.hooks import BODY_LIMIT
from campaign.providers.registry import default_base_urls
from campaign.services import webhooks
from campaign.storage import inbox
from campaign.storage.engine import Store, open_store

SECRET = "hook-secret-5e1f"
LINES = """
[lines.safe]
provider = "pathors"
credentials = { api_key = "env:KEY", webhook_secret = "env:HOOK" }
options = { project_id = "p" }

[lines.open]
provider = "mobtexting"
base_url = "https://example.com"
credentials = { token = "env:KEY" }
options = { flow_id = "7" }

[lines.deaf]
provider = "knovvu"
base_url = "https://example.com"
credentials = { access_token = "env:KEY" }
options = { project = "p", tenant = "t" }
"""
BODY = json.dumps({"event": "call.ended", "callId": "c-1"}).encode()


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Site:
    port: int
    store: Store

    def post(self, path: str, body: bytes = BODY, headers: Mapping[str, str] | None = None) -> Answer:
        return self.ask("POST", path, body, headers)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            link.request(method, path, body, dict(headers or {}))
            answer = link.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            link.close()

    def kept(self) -> list[inbox.StoredDelivery]:
        """Every stored delivery, by line and in order. Takes them, so that a second call finds none."""
        with self.store.write() as connection:
            return [
                delivery
                for line in ("safe", "open", "deaf")
                for delivery in inbox.take(connection, line, 2e10, 3e10, 100)
            ]


def settings(tmp_path: Path) -> Settings:
    (tmp_path / "lines.toml").write_text(LINES)
    return load_settings({}, {"CAMPAIGN_HOME": str(tmp_path)}, tmp_path, terminal=False)


@pytest.fixture
def site(tmp_path: Path, sqlite_url: str) -> Iterator[Site]:
    environ = {"KEY": "sk-1", "HOOK": SECRET}
    lines = load_lines(settings(tmp_path), environ, providers=default_base_urls())
    store = open_store(sqlite_url)
    server = uvicorn.Server(uvicorn.Config(make_app(store, lines), log_config=None, access_log=False, lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as sock:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        yield Site(sock.getsockname()[1], store)
        server.should_exit = True
        thread.join(30)
    store.close()


SECRET_FORMS: dict[str, tuple[str, dict[str, str]]] = {
    "bearer": ("/hooks/safe", {"Authorization": f"Bearer {SECRET}"}),
    "header": ("/hooks/safe", {"X-Webhook-Secret": SECRET}),
    "query": (f"/hooks/safe?token={SECRET}&kind=end", {}),
}


@pytest.mark.parametrize("form", SECRET_FORMS)
def test_a_delivery_with_the_secret_is_stored_as_verified_and_without_it(site: Site, form: str) -> None:
    # When a provider delivers with the secret in one of the three places
    path, headers = SECRET_FORMS[form]
    answer = site.post(path, headers={**headers, "Content-Type": "text/weird"})
    # Then it is committed before it is answered, verified, and the secret is nowhere in what is kept
    assert (answer.status, answer.json) == (200, {"ok": True})
    (delivery,) = site.kept()
    assert delivery.verified
    assert delivery.body == BODY
    assert delivery.headers["content-type"] == "text/weird"
    assert SECRET not in json.dumps([dict(delivery.headers), dict(delivery.query)])


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {SECRET}"}, {"X-Webhook-Secret": SECRET[:-1]}],
)
def test_a_wrong_secret_is_401_and_stores_nothing(site: Site, headers: dict[str, str]) -> None:
    answer = site.post("/hooks/safe", headers=headers)
    assert answer.status == 401
    assert "bearer" in answer.headers["www-authenticate"].lower()
    assert SECRET.encode() not in answer.body
    assert site.kept() == []


def test_without_a_secret_on_the_line_a_delivery_is_a_hint(site: Site) -> None:
    # When anybody says how a call ended, at length
    body = json.dumps({"to": "14155550123", "status": "ANSWER", "transcript": "x" * 500_000}).encode()
    assert site.post("/hooks/open?more=y", body, {"Content-Type": "application/json"}).status == 200
    # Then only which call to ask about is kept
    (delivery,) = site.kept()
    assert (delivery.verified, delivery.headers, delivery.query) == (False, {}, {})
    assert json.loads(delivery.body) == [{"call_id": None, "our_ref": None, "phone": "+14155550123"}]


def test_an_unverified_delivery_that_names_no_call_is_not_kept(site: Site) -> None:
    for body in (BODY, b"", b"\xff" * 1000, b"[" * 1000):
        assert site.post("/hooks/open", body).status == 200
    assert site.kept() == []


def test_who_floods_a_line_without_a_secret_is_told_to_come_later(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a line without a secret on which as many hints wait as may
    monkeypatch.setattr(webhooks, "UNREAD_HINTS", 5)
    answers = [site.post(f"/hooks/open?status=BUSY&to=1415555012{n}") for n in range(8)]
    # Then more of them are refused, and lines with a secret are not concerned
    assert [answer.status for answer in answers] == [200] * 5 + [429] * 3
    assert answers[-1].headers["retry-after"] == "60"
    assert site.post("/hooks/safe", headers={"Authorization": f"Bearer {SECRET}"}).status == 200
    assert len(site.kept()) == 6


def test_the_same_delivery_twice_is_one(site: Site) -> None:
    headers = {"Authorization": f"Bearer {SECRET}"}
    assert [site.post("/hooks/safe", headers=headers).status for _ in range(3)] == [200, 200, 200]
    assert len(site.kept()) == 1


@pytest.mark.parametrize(
    "path", ["/hooks/nobody", "/hooks/deaf", "/hooks/sandbox/x", "/hooks/", "/", "/docs", "/openapi.json"]
)
def test_nothing_else_is_there(site: Site, path: str) -> None:
    answer = site.post(path)
    assert answer.status == 404
    assert "error" in answer.json
    assert site.kept() == []


def test_other_methods_are_refused(site: Site) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert site.ask(method, "/hooks/open").status == 405


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_beyond_one_mebibyte_is_413(site: Site, announced: bool) -> None:
    body = b"x" * (BODY_LIMIT + 1)
    if announced:
        assert site.post("/hooks/open", body).status == 413
    else:
        with socket.create_connection(("127.0.0.1", site.port), 30) as link:
            link.sendall(b"POST /hooks/open HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            link.sendall(b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
            assert link.recv(100).startswith(b"HTTP/1.1 413")
    assert site.kept() == []
    assert site.post("/hooks/open", b"x" * BODY_LIMIT).status == 200


@pytest.mark.parametrize(("path", "status"), [("/hooks/open", 413), ("/hooks/safe", 401), ("/hooks/nobody", 404)])
def test_who_is_still_sending_when_refused_reads_why(site: Site, path: str, status: int) -> None:
    # more than the sockets' buffers take: a server that closed now would reset the connection, and its answer with it
    for _ in range(5):
        assert site.post(path, b"x" * (16 * BODY_LIMIT)).status == status


def test_a_body_that_breaks_off_stores_nothing(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.port), 30) as link:
        link.sendall(b"POST /hooks/open HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
    assert site.ask("GET", "/healthz").status == 200
    assert site.kept() == []


def test_a_handshake_gets_its_challenge(site: Site) -> None:
    # MobTexting asks for its challenge back when a webhook is set up
    answer = site.post("/hooks/open", json.dumps({"validation_key": "k", "challenge": "c-77"}).encode())
    assert (answer.status, answer.json) == (200, {"challenge": "c-77"})
    assert site.kept() == []


def test_what_cannot_be_stored_is_to_be_delivered_again(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    # Given a database that has lost its table
    with site.store.write() as connection:
        connection.exec_driver_sql("ALTER TABLE inbox RENAME TO gone")
    # When a provider delivers, then it is told to come again, and nothing of the delivery is in the log
    with caplog.at_level(logging.INFO):
        answer = site.post("/hooks/open", b'{"to": "14155550100", "status": "BUSY"}')
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0
    assert "4155550100" not in caplog.text + answer.body.decode()
    assert "could not be stored" in caplog.text
    with site.store.write() as connection:
        connection.exec_driver_sql("ALTER TABLE gone RENAME TO inbox")


def test_a_nul_character_in_the_query_is_refused(site: Site) -> None:
    assert site.post("/hooks/open?kind=%00").status == 400


def test_health_is_the_databases(site: Site) -> None:
    assert site.ask("GET", "/healthz").json == {"ok": True}
    site.store.engine.dispose()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
    assert site.ask("HEAD", "/healthz").status == 200


def test_health_without_a_database_is_503(tmp_path: Path, postgres_url: str) -> None:
    # Given a database that goes away after the start: here, a store that was pointed at a closed port
    store = open_store(postgres_url)
    app = make_app(store, load_lines(settings(tmp_path), {"KEY": "k", "HOOK": "h"}, providers=default_base_urls()))
    store.engine.dispose()
    store.engine = _unreachable(postgres_url)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as sock:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        answer = Site(sock.getsockname()[1], store).ask("GET", "/healthz")
        server.should_exit = True
        thread.join(30)
    store.close()
    assert (answer.status, answer.json) == (503, {"error": "the database does not answer"})


def _unreachable(url: str) -> Any:
    from sqlalchemy import create_engine

    from tests.servers import free_port

    name = url.rsplit("/", 1)[1]
    return create_engine(
        f"postgresql+psycopg://campaign@127.0.0.1:{free_port()}/{name}", connect_args={"connect_timeout": 2}
    )


def test_every_answer_carries_the_headers_and_the_log_no_query(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="campaign.access"):
        answers = [
            site.post(f"/hooks/safe?token={SECRET}"),
            site.post("/hooks/safe?token=wrong-secret"),
            site.ask("GET", "/healthz"),
            site.ask("GET", "/nothing%0ahere"),
        ]
        deadline = time.monotonic() + 10
        while "here 404" not in caplog.text and time.monotonic() < deadline:  # written after the answer has gone out
            time.sleep(0.01)
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["cache-control"] == "no-store"
    assert SECRET not in caplog.text
    assert "wrong-secret" not in caplog.text
    assert "POST /hooks/safe 200" in caplog.text
    assert "GET /nothing%0ahere 404" in caplog.text
