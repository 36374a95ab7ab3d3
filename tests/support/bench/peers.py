"""Images of what people serve instead of this project, each made of a stand-in base and a few lines of our own.

They imitate a design, not a product: nothing of it is in them. `peer_worker.py` is the server inside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from support.bench import kernels
from xgbpatch.bench.runner import EXPLAINS_LABEL
from xgbpatch.engine.client import Engine
from xgbpatch.progress import Progress, Silent
from xgbpatch.reference import ImageReference
from xgbpatch.standin.build import TreeWriter, build_standin

SERVER = Path(__file__).with_name("peer_worker.py")
BASE = "3.2-0"
_INPUTS_LABEL = "io.xgbpatch.bench.inputs"
_DOCKERFILE = """FROM {base}
COPY peer/ /opt/peer/
RUN python -m compileall -q -j 0 /opt/peer || true
ENV PYTHONPATH=/opt/peer/lib/python{python}/site-packages
LABEL {labels}
ENTRYPOINT ["python", "-W", "ignore", "/opt/peer/peer_worker.py", "{name}"]
"""


@dataclass(frozen=True)
class Peer:
    """`words`: what it imitates; `python`, `packages`: what it runs on; `explains`: it answers with SHAP values."""

    words: str
    python: str
    packages: Sequence[str]
    explains: bool = False


PEERS: Mapping[str, Peer] = {
    "tree-explainer": Peer(
        "a script of AWS's samples: each request makes a shap.TreeExplainer", *kernels.PACKAGES["shap"][1:],
        explains=True,
    ),
    "daal4py": Peer(
        "Intel's container: each request converts the model for oneDAL; Flask behind nginx; no SHAP values",
        "3.12", ("scikit-learn-intelex==2026.1.0", "scikit-learn==1.8.0", "xgboost-cpu==3.2.0", "scipy"),
    ),
    "onnxruntime": Peer(
        "the model converted to ONNX once, at load; no SHAP values",
        "3.12", ("onnxruntime", "onnxmltools", "onnx", "xgboost-cpu==3.2.0", "scikit-learn"),
    ),
}  # fmt: skip


def build(engine: Engine, name: str, progress: Progress) -> ImageReference:
    """The image of a peer, built where it is not there yet. Raises `RuntimeError` where its packages do not install."""
    peer = PEERS[name]
    base = build_standin(engine, BASE, progress)
    inputs = hashlib.sha256("\n".join((base.id, SERVER.read_text(), _DOCKERFILE, *peer.packages)).encode()).hexdigest()
    tag = ImageReference("", f"xgbpatch-bench/{name}", BASE)
    earlier = engine.image(tag)
    if earlier is not None and earlier.labels.get(_INPUTS_LABEL) == inputs:
        return tag
    progress.line(f"building {tag}: {peer.words}")
    labels = {_INPUTS_LABEL: inputs, **({EXPLAINS_LABEL: "1"} if peer.explains else {})}
    label_text = " ".join(f'{key}="{value}"' for key, value in labels.items())
    environment = kernels.environment(peer.python, peer.packages).parent.parent
    with TemporaryFile(prefix="xgbpatch-context-") as context:
        with TreeWriter(context) as tree:
            tree.text("Dockerfile", _DOCKERFILE.format(base=base.id, python=peer.python, labels=label_text, name=name))
            tree.file("peer/peer_worker.py", SERVER)
            tree.folder("peer/lib", environment / "lib", lambda path: "__pycache__" not in path.parts)
        engine.build(context, "linux/amd64", Silent(), tag=tag)
    return tag
