"""How an attempt ended."""

from enum import StrEnum


class Disposition(StrEnum):
    ANSWERED = "answered"
    VOICEMAIL = "voicemail"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    REJECTED = "rejected"
    INVALID_NUMBER = "invalid_number"
    UNAVAILABLE = "unavailable"
    CANCELED = "canceled"
    ERROR = "error"
    UNKNOWN = "unknown"  # rung or not, nobody can tell; never dialled again by itself unless the plan says so


NEVER_RETRIED = frozenset({Disposition.ANSWERED, Disposition.INVALID_NUMBER})
"""A plan may name a retry rule for any disposition but these two."""
