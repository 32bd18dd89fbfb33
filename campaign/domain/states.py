"""The states of a campaign, a target and an attempt, each with its meaning in one line."""

from enum import StrEnum


class CampaignState(StrEnum):
    DRAFT = "draft"  # made, not yet started; nothing is dialled
    RUNNING = "running"  # due targets are dialled
    PAUSED = "paused"  # by a person, or by a provider answer that no target should pay for; `why` says which
    COMPLETED = "completed"  # every target is done, skipped or held; an upload or a retry batch wakes it again
    CANCELED = "canceled"  # for good; targets that waited are skipped


class TargetState(StrEnum):
    WAITING = "waiting"  # has `due_at` and a reason
    CALLING = "calling"  # has one live attempt
    HELD = "held"  # needs a person (`campaign settle`)
    DONE = "done"  # has its final disposition
    SKIPPED = "skipped"  # will not be called, with the reason


class AttemptState(StrEnum):
    CLAIMED = "claimed"  # leased to a worker; nothing has left
    SENDING = "sending"  # committed before the request may leave
    PLACED = "placed"  # the provider has it; a result is awaited
    UNCONFIRMED = "unconfirmed"  # the request may have left and no answer can be trusted; settle looks
    ENDED = "ended"  # final, with a disposition
    REFUSED = "refused"  # final, the provider said no before ringing; `disposition` or not counted
    RELEASED = "released"  # final, nothing ever left; not an attempt
    NOT_PLACED = "not_placed"  # final, settle proved that nothing was placed; not an attempt


LIVE_ATTEMPT_STATES = frozenset(
    {AttemptState.CLAIMED, AttemptState.SENDING, AttemptState.PLACED, AttemptState.UNCONFIRMED}
)
"""While an attempt is in one of these, no other attempt may exist for its number (a partial unique index)."""


class LineState(StrEnum):
    OPEN = "open"
    SLOWED = "slowed"  # the provider throttled us; pace recovers step by step
    SILENT = "silent"  # nothing may leave before `not_before`
    BROKEN = "broken"  # the breaker is open; one probe is allowed from `not_before` on
    PROBING = "probing"  # one call is out to learn whether the line works again


class UploadState(StrEnum):
    RECEIVING = "receiving"  # the file's bytes are arriving; nobody may read it yet
    RECEIVED = "received"  # the file's bytes are stored; intake has not begun or was interrupted
    READING = "reading"  # rows are being staged; nothing of it is visible
    VISIBLE = "visible"  # every good row became a target at once
    FAILED = "failed"  # the file as a whole could not be read; `why` says so
