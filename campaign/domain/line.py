"""A line: a configured account at a provider, as a campaign dials through it."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from campaign.domain.durations import Duration


class Words(BaseModel):
    """The base of every configured model: unknown keys are refused, values never echo in an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


class PollSchedule(Words):
    """When to ask how a call ended. First after ``first_after``, then every ``every``, growing to ``at_most_every``."""

    first_after: Duration = 20.0
    every: Duration = 15.0
    at_most_every: Duration = 300.0
    give_up_after: Duration = 7200.0


class Line(Words):
    """One table of ``lines.toml`` with its secrets resolved. ``timeout`` bounds a whole request, in seconds.

    ``settle_after`` is when a lost call is first looked for. ``settle_grace`` is what must pass, beyond every deadline
    and the provider's lag, before its absence counts; None is five minutes. Shorter means that a worker or a provider
    that was frozen for longer than this may ring a number twice: for tests and simulators only.
    ``queue_margin`` is how long before closing hours the last call leaves, since a provider may hold it that long
    before it rings; None is what the provider is known to need.
    """

    name: str
    provider: str
    base_url: str
    calls_per_second: float = Field(default=1.0, gt=0, le=10_000)
    max_in_flight: int = Field(default=10, ge=1)
    credentials: dict[str, SecretStr] = Field(default_factory=dict, repr=False)
    caller_ids: tuple[str, ...] = ()
    options: dict[str, Any] = Field(default_factory=dict)
    poll: PollSchedule = PollSchedule()
    timeout: Duration = Field(default=20.0, gt=0)
    settle_after: Duration | None = None  # None: what suits the provider
    settle_grace: Duration | None = None
    queue_margin: Duration | None = Field(default=None, ge=0)
    allow_insecure: bool = False  # base_url may be plain http to another machine
    verify_tls: bool = True
    ca_file: str | None = None

    def secret(self, name: str) -> str:
        """The clear text of one credential; only a provider file asks, and only to build a header or body."""
        return self.credentials[name].get_secret_value()
