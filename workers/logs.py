"""Logging of the workers: one line each, as text or JSON, redacted on the root handler, chatty libraries kept quiet."""

import json
import logging
import re
from collections.abc import Iterable
from datetime import UTC, datetime

QUIET = (
    *("httpx", "httpcore", "urllib3", "kombu", "amqp", "redis"),
    *("celery.worker.strategy", "celery.app.trace", "celery.beat"),  # three lines a second about the tick
)
TEXT = "%(asctime)s %(levelname)s %(processName)s %(name)s: %(message)s"
_PHONE = re.compile(r"\+\d[\d\s().-]{6,18}\d|(?<![\d.:-])\d{9,15}(?![\d.:-])")
_SECRET = re.compile(r"(?i)\b(authorization|x-api-key|api[-_]?key|access[-_]?token|token|secret|password)\b\W{1,4}\S+")
_known: set[str] = set()


def never_show(secrets: Iterable[str]) -> None:
    """From now on these very values are masked wherever they turn up. Too short a value would mask half the log."""
    _known.update(secret for secret in secrets if len(secret) >= 6)


class Redact(logging.Filter):
    """Masks what is, or looks like, a secret or a phone number, in the message and in an exception's text."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redacted(record.getMessage()), None
        if record.exc_info:
            record.exc_text = redacted(logging.Formatter().formatException(record.exc_info))
        return True


def redacted(text: str) -> str:
    for secret in _known:
        text = text.replace(secret, "***")
    text = _SECRET.sub(lambda match: f"{match.group(1)}=***", text)
    return _PHONE.sub(lambda match: match.group(0)[:2] + "*" * 6 + match.group(0)[-2:], text)


class JsonLines(logging.Formatter):
    """One object a line: at, level, process, logger, message, and error where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"at": at, "level": record.levelname, "process": record.processName, "logger": record.name}
        line["message"] = record.getMessage()
        if record.exc_text:
            line["error"] = record.exc_text
        return json.dumps(line, ensure_ascii=False)


def set_up(level: int, log_format: str) -> None:
    """``log_format`` is ``text`` or ``json``."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if log_format == "json" else logging.Formatter(TEXT))
    handler.addFilter(Redact())
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
