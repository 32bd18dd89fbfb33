"""Logging of the workers: one line each, redacted on the root handler, with the chatty libraries kept quiet."""

import logging
import re

QUIET = ("httpx", "httpcore", "aiohttp", "urllib3", "kombu", "amqp", "redis")
_PHONE = re.compile(r"\+\d[\d\s().-]{6,18}\d|(?<![\d.:-])\d{9,15}(?![\d.:-])")
_SECRET = re.compile(r"(?i)\b(authorization|x-api-key|api[-_]?key|access[-_]?token|token|secret|password)\b\W{1,4}\S+")


class Redact(logging.Filter):
    """Masks what looks like a secret or a phone number, in the message and in an exception's text."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        record.msg, record.args = redacted(text), None
        if record.exc_info:
            record.exc_text = redacted(logging.Formatter().formatException(record.exc_info))
        return True


def redacted(text: str) -> str:
    text = _SECRET.sub(lambda match: f"{match.group(1)}=***", text)
    return _PHONE.sub(_mask, text)


def _mask(match: re.Match[str]) -> str:
    found = match.group(0)
    return found[:2] + "*" * 6 + found[-2:]


def set_up(level: int = logging.INFO) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(processName)s %(name)s: %(message)s"))
    handler.addFilter(Redact())
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
