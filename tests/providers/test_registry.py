"""Lines are checked before anything is dialled: every fault at once, by its key, and never with a value."""

import subprocess
import sys
from math import inf
from typing import Any

import pytest
from pydantic import SecretStr

from campaign.domain.errors import UsageFault
from campaign.domain.line import Line
from campaign.providers.port import Capabilities
from campaign.providers.registry import (
    PROVIDERS,
    check_line,
    default_base_urls,
    make_provider,
    provider_class,
    queue_margin,
)
from tests.providers.recorded import refusing

SECRET = "sk_canary_0123456789"


def nexbro_line(credentials: dict[str, str] | None = None, **options: Any) -> Line:
    secrets = {"api_key": SECRET} if credentials is None else credentials
    return Line(
        name="recall",
        provider="nexbro",
        base_url="https://pbx.example",
        credentials={name: SecretStr(value) for name, value in secrets.items()},
        options={"extension": 234, "gateway_uuid": "g"} | options,
    )


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_every_provider_is_what_its_line_says(name: str) -> None:
    kind = provider_class(name)
    assert kind.name == name
    assert isinstance(kind.capabilities, Capabilities)
    assert all(field.description for field in kind.options.model_fields.values()), "each option is described"
    assert name in default_base_urls()


def test_an_unknown_provider_is_named_with_the_known_ones() -> None:
    with pytest.raises(UsageFault, match="no provider 'nexbroo'; the known ones are knovvu, mobtexting, netsapiens"):
        provider_class("nexbroo")
    line = nexbro_line().model_copy(update={"provider": "nexbroo"})
    assert check_line(line)[0].startswith("lines.recall.provider: there is no provider 'nexbroo'")


def test_a_sound_line_has_no_faults_and_makes_its_provider() -> None:
    assert check_line(nexbro_line()) == []
    assert check_line(nexbro_line({"api_key": SECRET, "webhook_secret": SECRET})) == []
    assert make_provider(nexbro_line(), refusing()).name == "nexbro"


@pytest.mark.parametrize(
    ("provider", "seconds"),
    [
        ("nexbro", 30.0),
        ("netsapiens", 30.0),
        ("sandbox", 30.0),
        ("knovvu", 300.0),
        ("mobtexting", 300.0),
        ("pathors", 300.0),
    ],
)
def test_a_line_stops_before_closing_by_what_its_provider_may_hold_a_call(provider: str, seconds: float) -> None:
    line = nexbro_line().model_copy(update={"provider": provider, "options": {}})
    assert queue_margin(line) == seconds
    # And by no less than a request may be under way, unless the line says how long
    assert queue_margin(line.model_copy(update={"timeout": 400.0})) == 410.0
    assert queue_margin(line.model_copy(update={"timeout": 400.0, "queue_margin": 0.0})) == 0.0


def test_a_provider_that_dials_again_by_itself_has_no_margin_that_is_known() -> None:
    line = nexbro_line().model_copy(update={"provider": "mobtexting", "options": {"provider_retry_interval": 15}})
    assert queue_margin(line) == inf
    assert queue_margin(line.model_copy(update={"options": {"provider_retry_interval": 0}})) == 300.0
    assert queue_margin(line.model_copy(update={"queue_margin": 7200.0})) == 7200.0


def test_every_option_that_lets_a_provider_dial_again_exists() -> None:
    for kind in map(provider_class, PROVIDERS):
        can = kind.capabilities
        assert can.own_retry == (can.own_retry_option is not None)
        assert can.own_retry_option is None or can.own_retry_option in kind.options.model_fields


def test_every_fault_is_told_at_once_by_its_key() -> None:
    # Given a line with a missing secret, a foreign one, a missing, a misspelt and two wrong options
    line = nexbro_line({"token": SECRET}, gatway_uuid="g", cdr_path="cdr", time_zone="Mars/Olympus", extension=None)
    # When it is checked, Then each is a sentence of its own
    assert check_line(line) == [
        "lines.recall.credentials.api_key is missing; nexbro needs it, as env:NAME or file:PATH",
        (
            "lines.recall.credentials.token is not a credential of nexbro; "
            "remove it, or choose from api_key, webhook_secret"
        ),
        "lines.recall.options.extension: input should be a valid string",
        "lines.recall.options.cdr_path: input should be 'call/call-detail-record' or 'call-detail-record'",
        "lines.recall.options.time_zone: not an IANA time zone; write it like Europe/Istanbul",
        "lines.recall.options.gatway_uuid is not an option of nexbro; did you mean gateway_uuid?",
    ]
    with pytest.raises(UsageFault, match=r"(?s)api_key is missing.*gatway_uuid"):
        make_provider(line, refusing())


def test_a_missing_option_is_named() -> None:
    line = nexbro_line().model_copy(update={"options": {}})
    assert check_line(line) == [
        "lines.recall.options.extension is missing; nexbro needs it",
        "lines.recall.options.gateway_uuid is missing; nexbro needs it",
    ]


@pytest.mark.parametrize("secret", ["", f"{SECRET}\n", "schlüssel"])
def test_a_secret_that_no_header_can_carry_is_refused_without_showing_it(secret: str) -> None:
    (fault,) = check_line(nexbro_line({"api_key": secret}))
    assert fault.startswith("lines.recall.credentials.api_key ")
    assert not secret or secret.strip() not in fault


def test_a_value_is_never_repeated() -> None:
    line = nexbro_line({"api_key": SECRET}, extension=[SECRET], cdr_path=SECRET, time_zone=SECRET)
    assert len(check_line(line)) == 3
    assert SECRET not in "".join(check_line(line))


def test_a_rule_about_two_options_names_them() -> None:
    line = nexbro_line({"token": SECRET}).model_copy(
        update={"provider": "netsapiens", "options": {"domain": "d", "user": "u", "ring_first": "contact"}}
    )
    assert check_line(line) == [
        'lines.recall.options: ring_first = "contact" needs `agent`: whom the contact is put through to'
    ]


def test_providers_are_imported_when_asked_for() -> None:
    program = (
        "import sys, campaign.providers.registry as r; r.provider_class('nexbro');"
        "print([m for m in sys.modules if m.startswith('campaign.providers.') or m in ('httptools', 'httpx')])"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "campaign.providers.nexbro" in printed
    for other in ("netsapiens", "pathors", "httptools", "httpx"):
        assert other not in printed
