"""What the engine streams while it builds, and what of it is shown."""

from xgbpatch.engine.client import drain
from xgbpatch.errors import BuildError
from xgbpatch.progress import Plain


def test_kilobytes_of_labels_are_not_shown(capsys):
    steps = ["FROM base", "COPY opt/ /opt/xgbpatch/", "ENV A=1", "LABEL io.xgbpatch.hooks=" + "x" * 5000]
    stream = [{"stream": f"Step {number}/4 : {step}\n"} for number, step in enumerate(steps, 1)]
    drain([*stream, {"stream": " ---> 0123456789ab\n"}], Plain(), BuildError, "the build failed")
    assert capsys.readouterr().err.splitlines() == [
        "Step 1/4 : FROM base", "Step 2/4 : COPY opt/ /opt/xgbpatch/", "Step 3/4 : ENV A=1", "---> 0123456789ab",
    ]  # fmt: skip
