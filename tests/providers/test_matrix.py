"""The page of capabilities is what the classes say, and nobody edits it."""

from pathlib import Path

from campaign.providers.matrix import render
from campaign.providers.registry import PROVIDERS

PAGE = Path(__file__).parents[2] / "docs" / "providers.md"


def test_the_page_is_what_the_classes_say() -> None:
    assert PAGE.read_text("utf-8") == render(), "run `python -m campaign.providers.matrix > docs/providers.md`"


def test_every_provider_has_a_column_and_a_section() -> None:
    page = render()
    for name in PROVIDERS:
        assert f" `{name}` |" in page.split("\n## ", maxsplit=1)[0]
        assert f"\n## {name}\n" in page
