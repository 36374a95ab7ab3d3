"""The RecordIO-protobuf encoder writes the bytes that were worked out by hand from the format's description."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgbpatch.contract import payloads

ONE_ROW = bytes.fromhex(
    "0a23d7ce 14000000"  # magic, 20 bytes follow
    "0a12"  # features: a map entry of 18 bytes
    "0a06 76616c756573"  # key "values"
    "1208"  # value of 8 bytes
    "1206"  # float32_tensor of 6 bytes
    "0a04 0000803f"  # values: 1.0
)
rows = st.lists(st.lists(st.floats(width=32, allow_nan=False), max_size=300), max_size=5)


def test_one_value_has_the_bytes_of_the_format():
    assert payloads.recordio([[1.0]]) == ONE_ROW


@given(rows)
def test_every_row_is_a_record_of_whole_words(some):
    stream = payloads.recordio(some)
    assert payloads.recordio_count(stream) == len(some)
    assert len(stream) % 4 == 0


@pytest.mark.parametrize(
    "stream", [ONE_ROW[:-1], ONE_ROW[:-4], ONE_ROW[:5], b"junk" * 4, ONE_ROW + b"\0"],
    ids=["one byte short", "one word short", "half a frame", "no magic", "stray byte"],
)  # fmt: skip
def test_broken_framing_is_refused(stream):
    with pytest.raises(ValueError, match=r"\d"):
        payloads.recordio_count(stream)
