"""What counts as a change of the base, from two file lists."""

import subprocess
import sys

import pytest

from xgbpatch.inspection import container


def listing(*lines: str) -> dict[str, str]:
    return dict(line.split("\0", 1) for line in lines)


BASE = listing("/opt\x00d", "/opt/a\x00f 1", "/etc/b\x00f 2")


@pytest.mark.parametrize(
    ("after", "outside"),
    [
        pytest.param({**BASE, "/opt/xgbpatch": "d", "/opt/xgbpatch/lib/x": "f"}, (), id="ours alone"),
        pytest.param(
            {**BASE, "/opt/xgbpatch2": "f"}, ("added /opt/xgbpatch2",), id="a folder that only begins like ours"
        ),
        pytest.param({**BASE, "/etc/b": "f 3"}, ("changed /etc/b",), id="changed"),
        pytest.param({"/opt": "d", "/opt/a": "f 1"}, ("removed /etc/b",), id="removed"),
    ],
)
def test_only_additions_below_our_folder_are_ours(after, outside):
    assert container.compare_files(BASE, after).outside == outside


def test_the_probe_lists_names_that_are_not_text(tmp_path):
    odd = tmp_path / "line\nbreak"
    odd.write_text("x")
    (tmp_path / "link").symlink_to("target")
    script = container.probe_source("inventory").replace('lines("/")', f"lines({str(tmp_path)!r})")
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout
    inventory = container.parse_inventory(output)
    assert set(inventory) == {str(odd), str(tmp_path / "link")}
    assert inventory[str(tmp_path / "link")].endswith("\0target\0-")
