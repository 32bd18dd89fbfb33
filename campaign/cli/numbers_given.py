"""Phone numbers as a person types them at the command line, to E.164."""

from typing import TYPE_CHECKING

from campaign.domain.errors import UsageFault

if TYPE_CHECKING:
    from campaign.cli.command import Session


def chosen_region(session: "Session", given: str | None) -> str | None:
    """The flag's region, else the settings'. Raises UsageFault for one that is none."""
    from campaign.intake.reading import Reading

    return Reading(region=given).checked().region if given else session.settings.region


def e164(text: str, region: str | None) -> str:
    """Raises UsageFault, without repeating the number."""
    from campaign.intake.faults import Fault
    from campaign.intake.numbers import read_number

    number = read_number(text, region)
    if isinstance(number, Fault):
        raise UsageFault(f"the number {number.reason}; {number.remedy}")
    return number


def any_e164(text: str, region: str | None) -> str:
    """As :func:`e164`, but takes numbers as they are stored, also such as a campaign would refuse."""
    digits = text.strip().replace(" ", "")
    if digits.startswith("+") and digits[1:].isdigit() and 7 <= len(digits) <= 16:
        return digits
    return e164(text, region)
