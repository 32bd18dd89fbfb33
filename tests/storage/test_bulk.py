"""Many values and rows in one statement: what goes in is what is found and what comes back, on both databases."""

import pytest
from sqlalchemy import insert, select

from campaign.domain.dispositions import Disposition
from campaign.domain.states import TargetState
from campaign.storage.bulk import one_of, update_rows
from campaign.storage.engine import Store
from campaign.storage.newer_words import words_of
from campaign.storage.schema import do_not_call, targets
from tests.engine import add_campaign, numbers

AWKWARD = ("+14155550100", 'a"b', "c\\d", "\\", '"', "e,f", "{g}", "NULL", "", " h ", "ü\n", "q'r", "%s", ":x")


def test_any_text_is_found_among_many_and_no_other(store: Store) -> None:
    with store.write() as connection:
        rows = [{"phone": text, "reason": "", "added_at": 0.0} for text in (*AWKWARD, "another")]
        connection.execute(insert(do_not_call), rows)
        found = select(do_not_call.c.phone).where(one_of(connection, do_not_call.c.phone, AWKWARD))
        assert sorted(connection.execute(found).scalars()) == sorted(AWKWARD)
        for one in AWKWARD:
            found = select(do_not_call.c.phone).where(one_of(connection, do_not_call.c.phone, [one]))
            assert connection.execute(found).scalars().all() == [one]


def test_numbers_are_found_among_many_and_nothing_among_none(store: Store) -> None:
    add_campaign(store, numbers(5))
    with store.read() as connection:
        ids = connection.execute(select(targets.c.id).order_by(targets.c.id)).scalars().all()
        found = select(targets.c.id).where(one_of(connection, targets.c.id, [*ids[1:3], 2**62])).order_by(targets.c.id)
        assert connection.execute(found).scalars().all() == ids[1:3]
        assert connection.execute(select(targets.c.id).where(one_of(connection, targets.c.id, []))).all() == []


def test_words_are_written_as_their_texts_also_where_some_rows_have_none(store: Store) -> None:
    add_campaign(store, numbers(3))
    with store.write() as connection:
        ids = connection.execute(select(targets.c.id).order_by(targets.c.id)).scalars().all()
        words = (Disposition.BUSY, None, Disposition.ANSWERED)
        for given in (words, words[1:]):  # the first of them has a word, or has none
            rows = [(TargetState.DONE, word, {Disposition.BUSY: 1}, id_) for word, id_ in zip(given, ids, strict=False)]
            update_rows(connection, targets, ("state", "disposition", "tally"), rows)
            read = select(targets.c.state, targets.c.disposition, targets.c.tally).order_by(targets.c.id)
            shown = [("done", word and word.value, {"busy": 1}) for word in given]
            assert [tuple(row) for row in connection.execute(read)][: len(given)] == shown


def test_a_word_of_another_version_is_no_word() -> None:
    assert words_of(Disposition)["busy"] is Disposition.BUSY
    with pytest.raises(ValueError, match="does not know"):
        words_of(Disposition)["hibernated"]
