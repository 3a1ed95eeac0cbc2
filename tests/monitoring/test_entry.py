import pytest
from hypothesis import given
from hypothesis import strategies as st

from fulldeck.monitoring.entry import HEAD, Entry
from log_entries import some_entry

texts = st.text(max_size=20)


@given(label=texts, key_id=st.none() | texts, image=st.none() | st.binary(max_size=100), accepted=st.booleans())
def test_a_record_gives_back_its_entry(label, key_id, image, accepted):
    written = some_entry(7, label=label, key_id=key_id, image=image, accepted=accepted)
    record = written.to_record()
    length, _ = HEAD.unpack_from(record)
    assert length == len(record) - HEAD.size
    assert Entry.from_body(record[HEAD.size :]) == written
    assert Entry.from_plain(written.to_plain()) == written


@given(body=st.binary(max_size=200))
def test_what_is_no_record_is_told_from_one(body):
    with pytest.raises(ValueError):  # noqa: PT011  (json's and ours)
        Entry.from_body(body)


def test_a_row_has_a_value_for_each_column(entry):
    from fulldeck.monitoring.tables import PREDICTIONS

    assert set(entry().to_row()) == set(PREDICTIONS.columns.keys())
