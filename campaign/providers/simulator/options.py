"""Every setting of the sandbox, checked in one place. Text forms are taken as a shell or a TOML file gives them."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator

from campaign.domain.dispositions import Disposition
from campaign.domain.durations import Duration
from campaign.domain.errors import UsageFault
from campaign.domain.line import Words
from campaign.providers.simulator.faults import FaultRule
from campaign.providers.simulator.outcomes import DEFAULT_MIX

DIALECTS = ("nexbro", "netsapiens", "knovvu", "mobtexting", "pathors", "sandbox")

VARIANTS: Mapping[str, Mapping[str, str]] = {
    "nexbro": {
        "old_names": "xml_cdr_uuid, start_epoch, answer_epoch and end_epoch in place of call_uuid, start_time, …",
        "flat_path": "call records only under /call-detail-record, as the documentation's example has it",
        "nested_path": "call records only under /call/call-detail-record, as the documentation's table has it",
    },
    "netsapiens": {
        "old_names": "active calls with underscores (orig_callid, time_answer), as in the official example",
        "bare_body": "202 with {} in place of a code and a message",
    },
    "knovvu": {
        "joined": "call states written NoAnswer",
        "upper": "call states written NO_ANSWER",
        "no_pending": "calls that go on are left out of the results in place of an empty state",
    },
    "mobtexting": {"old_bodies": "answers as before 2024-07: status 200, no status word on the queued call"},
    "pathors": {
        "quiet_unanswered": "no session for a call that nobody answered",
        "call_id": "the v1 answer carries callId",
    },
    "sandbox": {},
}
"""Where a provider's documentation names two forms, or none: the words that choose the other one."""


def _pairs(value: object) -> object:
    """``answered=60,busy=20`` as a mapping."""
    if not isinstance(value, str):
        return value
    parts = [part.partition("=") for part in value.split(",") if part.strip()]
    for key, equals, weight in parts:
        if not equals or not weight.strip():
            raise ValueError(f"write it like answered=60,no_answer=20; {key.strip()!r} has no weight")
    return {key.strip(): weight.strip() for key, _, weight in parts}


def _fault_list(value: object) -> object:
    return [value] if isinstance(value, (str, Mapping)) else value


Mix = Annotated[dict[Disposition, Annotated[float, Field(ge=0)]], BeforeValidator(_pairs)]


class WebhookTarget(Words):
    """Where a dialect's events are posted, and the secret that they carry (docs/sandbox.md says in which header)."""

    url: str = Field(pattern=r"^https?://")
    secret: SecretStr | None = None


class SimulatorOptions(Words):
    """Durations of ringing and talking are divided by ``time_scale``; every other duration is real.

    ``port`` 0 takes a free one. ``keys`` names the one credential a dialect accepts; without it any will do (and the
    sandbox's own dialect needs none). ``calls_per_second`` and ``max_live`` make the provider refuse with 429 what goes
    beyond, per account. ``page_size`` is that of the sandbox's own list. ``list_lag`` and ``result_lag`` delay what
    lists and results show, for every call.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8777, ge=0, le=65535)
    seed: int = 1
    time_scale: float = Field(default=1.0, gt=0)
    mix: Mix = Field(default_factory=lambda: dict(DEFAULT_MIX))
    script: dict[str, tuple[Disposition, ...]] = Field(default_factory=dict, repr=False)
    latency: Duration = Field(default=0.0, ge=0)
    latency_jitter: Duration = Field(default=0.0, ge=0)
    faults: Annotated[tuple[FaultRule, ...], BeforeValidator(_fault_list)] = ()
    keys: dict[str, SecretStr] = Field(default_factory=dict)
    idempotent: bool = False
    calls_per_second: float | None = Field(default=None, gt=0)
    max_live: int | None = Field(default=None, ge=1)
    list_lag: Duration = Field(default=0.0, ge=0)
    result_lag: Duration = Field(default=0.0, ge=0)
    page_size: int = Field(default=100, ge=1, le=10_000)
    webhooks: dict[str, WebhookTarget] = Field(default_factory=dict)
    webhook_tries: int = Field(default=3, ge=1, le=20)
    variants: dict[str, frozenset[str]] = Field(default_factory=dict)
    keep_calls: int = Field(default=300_000, ge=1)
    keep_arrivals: int = Field(default=5_000_000, ge=0)
    control_token: SecretStr | None = None

    @field_validator("mix")
    @classmethod
    def _some_weight(cls, mix: dict[Disposition, float]) -> dict[Disposition, float]:
        if sum(mix.values()) <= 0:
            raise ValueError("at least one outcome needs a weight above 0")
        return mix

    @field_validator("script")
    @classmethod
    def _scripted(cls, script: dict[str, tuple[Disposition, ...]]) -> dict[str, tuple[Disposition, ...]]:
        for number, outcomes in script.items():
            if not number.startswith("+") or not number[1:].isdigit():
                raise ValueError("write the numbers of a script as + and digits")
            if not outcomes:
                raise ValueError("every number of a script needs at least one outcome")
        return script

    @field_validator("keys", "webhooks", "variants")
    @classmethod
    def _known_dialects(cls, per_dialect: dict[str, Any]) -> dict[str, Any]:
        for dialect in per_dialect:
            if dialect not in DIALECTS:
                raise ValueError(f"there is no dialect {dialect!r}; use one of {', '.join(DIALECTS)}")
        return per_dialect

    @field_validator("variants")
    @classmethod
    def _known_variants(cls, variants: dict[str, frozenset[str]]) -> dict[str, frozenset[str]]:
        for dialect, chosen in variants.items():
            for word in chosen - VARIANTS[dialect].keys():
                known = ", ".join(VARIANTS[dialect]) or "none"
                raise ValueError(f"{dialect} has no variant {word!r}; it has: {known}")
        return variants

    def variant(self, dialect: str, word: str) -> bool:
        return word in self.variants.get(dialect, ())

    def key(self, dialect: str) -> str | None:
        secret = self.keys.get(dialect)
        return None if secret is None else secret.get_secret_value()


FIXED_WHILE_RUNNING = frozenset({"host", "port", "seed", "keep_calls", "keep_arrivals", "control_token"})


def simulator_options(**words: Any) -> SimulatorOptions:
    """Options from plain words. Raises UsageFault: one sentence with every fault and what would be right."""
    try:
        return SimulatorOptions(**words)
    except ValidationError as error:
        raise UsageFault(f"the sandbox cannot start: {sentence(error)}") from None


def changed_options(options: SimulatorOptions, words: Mapping[str, Any]) -> SimulatorOptions:
    """The options with ``words`` changed. Raises UsageFault, also for a word that is fixed while running."""
    fixed = sorted(FIXED_WHILE_RUNNING & words.keys())
    if fixed:
        raise UsageFault(f"{', '.join(fixed)} cannot change while the sandbox runs; start it anew")
    try:
        return SimulatorOptions(
            **{name: getattr(options, name) for name in SimulatorOptions.model_fields} | dict(words)
        )
    except ValidationError as error:
        raise UsageFault(f"nothing was changed: {sentence(error)}") from None


def sentence(error: ValidationError) -> str:
    """Every fault of the error as ``field: fault``, without the values."""
    faults = []
    for item in error.errors(include_input=False, include_url=False):
        where = ".".join(str(part) for part in item["loc"] if part != "[key]") or "options"
        what = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            what = "there is no such option"
        faults.append(f"{where}: {what}")
    return "; ".join(faults)
