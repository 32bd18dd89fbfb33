"""The example that `make run` dials: what the README says of it must stay true."""

from pathlib import Path

from campaign.intake.layout import layout_of
from campaign.intake.rehearsal import rehearse
from tests.intake.reading import US

RECALL = Path(__file__).parents[2] / "examples" / "recall.csv"


def test_recall_csv_is_messy_the_way_it_is_meant_to_be() -> None:
    content = RECALL.read_bytes()
    told: list[int] = []
    result = rehearse([content], layout_of(content, US, whole=True), US, told.append)
    assert (result.rows_read, result.accepted, result.duplicates, result.rejected) == (223, 208, 7, 8)
    assert [(row.field, row.reason.split(",")[0]) for row in result.first_rejects] == [
        ("Mobile", "was turned into scientific notation by a spreadsheet"),
        ("Mobile", "is an emergency number"),
        ("Mobile", "is a premium-rate number"),
        ("Mobile", "is empty"),
        ("Mobile", "is too short for a number in US"),
        ("Mobile", "is not a number that exists in US"),
        ("row", "has a quotation mark without its partner"),
        ("row", "has more columns than the header"),
    ]
    assert result.layout.names == ("Name", "Mobile", "Clinic", "Appointment", "Notes")
    assert told[-1] == 223
