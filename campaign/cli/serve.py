"""``serve``: the web edge."""

import logging
import socket
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from campaign.cli.command import Command, Session, pass_session
from campaign.cli.output import note
from campaign.domain.errors import UsageFault

if TYPE_CHECKING:
    from campaign.domain.line import Line


@click.command("serve", cls=Command, examples=["campaign serve", "campaign serve --host 0.0.0.0 --port 8080"])
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@pass_session
def serve_command(session: Session, host: str, port: int) -> None:
    """The web edge: webhooks in, and health.

    POST /hooks/LINE takes what the line's provider sends; GET /healthz says whether the database answers. Speaks
    plain HTTP: put a proxy with TLS in front of it where it can be reached from outside.
    """
    from campaign.console.app import make_app
    from campaign.console.listening import serve
    from campaign.services.lines import ensure_line_rows

    lines, store = session.lines, session.store
    ensure_line_rows(store, lines)
    _log_to_stderr(session.settings.log_format)
    warnings = _warnings(host, lines.values())
    with _listening(host, port) as sock:
        told = [f"Listening on http://{_shown(host)}:{sock.getsockname()[1]}; Ctrl-C ends it.", *warnings]
        serve(make_app(store, lines), sock, lambda: _tell(told))


def _tell(sentences: "Iterable[str]") -> None:
    for sentence in sentences:
        note(sentence)


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise UsageFault(
            f"--host {host} --port {port}: nobody can listen there ({error.strerror}); give another"
        ) from None


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _warnings(host: str, lines: "Iterable[Line]") -> list[str]:
    import ipaddress

    from campaign.providers.registry import provider_class

    try:
        inside = ipaddress.ip_address(host).is_loopback
    except ValueError:
        inside = host == "localhost"
    if inside:
        return []
    told = [f"{host} can be reached from other machines, in the clear: let a proxy with TLS stand in front."]
    for line in lines:
        if provider_class(line.provider).capabilities.webhook and "webhook_secret" not in line.credentials:
            told.append(f"line {line.name} has no webhook_secret: what comes for it is only a hint to poll.")
    return told


class _AsJson(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        import json

        words = {"at": self.formatTime(record), "level": record.levelname, "logger": record.name}
        return json.dumps({**words, "message": record.getMessage()}, ensure_ascii=False)


def _log_to_stderr(form: str) -> None:
    """No tracebacks: an exception's text may hold a number."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_AsJson() if form == "json" else _AsText("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(logging.INFO)


class _AsText(logging.Formatter):
    def formatException(self, ei: object) -> str:  # noqa: N802 - logging's own name
        return ""
