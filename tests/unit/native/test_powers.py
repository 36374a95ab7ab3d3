"""The table of powers of ten, computed anew with whole numbers."""

from __future__ import annotations

import math
import re
from fractions import Fraction

from xgbpatch.native import build


def test_every_power_is_rounded_up_to_128_bits():
    text = (build.SOURCES / "powers.h").read_text(encoding="ascii")
    begin, end = (int(number) for number in re.findall(r"POWERS_(?:FROM|TO) = (-?\d+)", text))
    rows = [(int(high, 16), int(low, 16)) for high, low in re.findall(r"\{(0x[0-9a-f]+), (0x[0-9a-f]+)\}", text)]
    assert len(rows) == end - begin + 1
    for exponent, (high, low) in zip(range(begin, end + 1), rows, strict=True):
        power = Fraction(10) ** exponent
        binary = (exponent * 1741647) >> 19  # `binary_exponent`
        assert Fraction(2) ** binary <= power < Fraction(2) ** (binary + 1)
        assert high << 64 | low == math.ceil(power / Fraction(2) ** (binary - 127))
