"""Asking a Redis whether it is there, over a plain socket: the command line never imports a Redis client."""

import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from campaign.domain.errors import OutOfReach

if TYPE_CHECKING:
    from campaign.config import Settings

WITHIN = 3.0


def require_broker(settings: "Settings") -> None:
    """Where a broker is configured, it must answer before a command begins what only workers can end.

    Raises OutOfReach.
    """
    fault = ping(settings.broker_url) if settings.broker_url else None
    if fault:
        raise OutOfReach(fault)


def ping(url: str) -> str | None:
    """None where the broker answers PING; else the fault in one sentence, without the password."""
    parts = urlsplit(url)
    try:
        with _connected(parts.hostname or "localhost", parts.port or 6379, tls=parts.scheme == "rediss") as link:
            return _dialogue(link, unquote(parts.username or ""), unquote(parts.password or ""))
    except (OSError, ValueError) as error:
        where = f"{parts.hostname}:{parts.port or 6379}"
        return f"the broker {where} does not answer ({_why(error)}); check CAMPAIGN_BROKER_URL and that the server runs"


def _connected(host: str, port: int, *, tls: bool) -> socket.socket:
    link = socket.create_connection((host, port), timeout=WITHIN)
    return ssl.create_default_context().wrap_socket(link, server_hostname=host) if tls else link


def _dialogue(link: socket.socket, user: str, password: str) -> str | None:
    if password:
        said = _ask(link, "AUTH", *([user] if user else []), password)
        if not said.startswith("+"):
            return "the broker refuses the user or the password of CAMPAIGN_BROKER_URL"
    said = _ask(link, "PING")
    if said.startswith("+PONG"):
        return None
    if said.startswith("-NOAUTH"):
        return "the broker wants a password; write it into CAMPAIGN_BROKER_URL"
    return f"what answers at CAMPAIGN_BROKER_URL is no Redis that works ({said[:40]!r})"


def _ask(link: socket.socket, *words: str) -> str:
    parts = [f"*{len(words)}\r\n".encode()]
    for word in words:
        parts.append(b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()))
    link.sendall(b"".join(parts))
    return link.recv(256).decode("utf-8", "replace")


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
