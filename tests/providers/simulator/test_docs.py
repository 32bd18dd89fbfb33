"""docs/sandbox.md names everything there is, and its examples work."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from campaign.domain.line import Line
from campaign.providers.registry import check_line
from campaign.providers.simulator.faults import NAMED, FaultRule
from campaign.providers.simulator.ledger import LedgerReport
from campaign.providers.simulator.options import VARIANTS, SimulatorOptions

TEXT = Path("docs/sandbox.md").read_text("utf-8")
CODE = set(re.findall(r"`([^`\n]+)`", TEXT))


def test_every_option_fault_and_variant_is_in_the_page() -> None:
    named = " ".join(CODE)
    expected = {*SimulatorOptions.model_fields, *NAMED, *(FaultRule.model_fields.keys() - {"kind"})}
    expected |= {word for words in VARIANTS.values() for word in words}
    assert not sorted(word for word in expected if not re.search(rf"\b{word}\b", named))


def _examples() -> list[str]:
    rows = [line for line in TEXT.partition("## Faults")[2].partition("**Reading**")[0].splitlines() if "|" in line]
    return [found for row in rows for found in re.findall(r"`([^`]+)`", row.rsplit("|", 2)[1])]


@pytest.mark.parametrize("example", _examples())
def test_every_example_of_a_fault_is_one(example: str) -> None:
    FaultRule.model_validate(example)


def test_the_ledger_of_the_page_has_the_names_of_the_ledger() -> None:
    (shown,) = [json.loads(block) for block in re.findall(r"```json\n(.+?)```", TEXT, re.DOTALL)]
    assert shown.keys() <= LedgerReport.model_fields.keys()


def test_the_lines_of_the_page_are_right() -> None:
    (shown,) = re.findall(r"```toml\n(.+?)```", TEXT, re.DOTALL)
    lines = tomllib.loads(shown)["lines"]
    assert {line["provider"] for line in lines.values()} == VARIANTS.keys()
    for name, line in lines.items():
        assert check_line(Line.model_validate({"name": name, **line})) == []
