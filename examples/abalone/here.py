"""SageMaker's part, played on this machine: an image trains, transforms a file and answers in containers.

The containers get what SageMaker gives them: files under /opt/ml, the argument `train` or `serve`, variables, port
8080. `on_aws.py` has the same functions for an account.
"""

from __future__ import annotations

import json
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import requests

from xgbpatch import ImageReference
from xgbpatch.engine.client import Container, Engine
from xgbpatch.engine.types import Mount, Run
from xgbpatch.progress import Silent
from xgbpatch.registry.keychain import Keychain

READY_SECONDS = 600
REQUEST_BYTES = 6 * 2**20  # what batch transform sends at most, where the container does not say otherwise
PATIENT = {"OMP_WAIT_POLICY": "passive", "SAGEMAKER_MODEL_SERVER_WORKERS": "1"}  # for a small machine, and one caller
CHANNEL = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "ContentType": "text/csv"}
CSV = {"Content-Type": "text/csv", "Accept": "text/csv"}

Ask = Callable[[bytes], str]  # rows as CSV → the answer


class Here:
    """Runs `image`, which is pulled where the engine does not hold it; files go to `folder`."""

    def __init__(self, image: str, folder: Path) -> None:
        self.image, self.folder = image, folder.absolute()
        with Engine.connect() as engine:
            reference = ImageReference.parse(image)
            if engine.image(reference) is None:
                engine.pull(reference, Keychain()(reference), Silent())

    def train(self, hyperparameters: Mapping[str, str], train: Path, validation: Path) -> Path:
        """A training job on two CSV files (label first, no header); returns model.tar.gz. Its log goes to train.log."""
        ml = self.folder / "training"
        for name in ("input/config", "input/data/train", "input/data/validation", "model", "output/data"):
            (ml / name).mkdir(parents=True, exist_ok=True)
        for name, source in (("train", train), ("validation", validation)):
            (ml / "input/data" / name / source.name).write_bytes(source.read_bytes())
        documents = {
            "hyperparameters": dict(hyperparameters),
            "inputdataconfig": {"train": CHANNEL, "validation": CHANNEL},
            "resourceconfig": {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"},
        }
        for name, document in documents.items():
            (ml / f"input/config/{name}.json").write_text(json.dumps(document), encoding="utf-8")
        with Engine.connect() as engine:
            ended = engine.run(Run(self.image, ("train",), environment=PATIENT, mounts=(Mount(ml, "/opt/ml"),)))
        (self.folder / "train.log").write_text(ended.stdout + ended.stderr, encoding="utf-8")
        if ended.exit_code:
            raise RuntimeError(f"training ended with exit code {ended.exit_code}; see {self.folder / 'train.log'}")
        archive = self.folder / "model.tar.gz"
        with tarfile.open(archive, "w:gz") as packed:
            for path in sorted((ml / "model").iterdir()):
                packed.add(path, path.name)
        return archive

    def batch_transform(self, model: Path, rows: Path, environment: Mapping[str, str]) -> Path:
        """A batch transform job on a CSV file without a header, split by lines; returns the file of its answers."""
        output = self.folder / "transform" / f"{rows.name}.out"
        output.parent.mkdir(exist_ok=True)
        with self._served(model, {"SAGEMAKER_BATCH": "true", **environment}) as address, output.open("w") as stream:
            limits = requests.get(f"{address}/execution-parameters", timeout=60)
            most = limits.json()["MaxPayloadInMB"] * 2**20 if limits.ok else REQUEST_BYTES
            for body in records(rows.read_bytes(), most):
                answer = invoke(address, "/invocations", body)
                stream.write(answer if answer.endswith("\n") else answer + "\n")
        return output

    @contextmanager
    def endpoint(self, model: Path, environment: Mapping[str, str]) -> Iterator[Ask]:
        """A real-time endpoint of one model; gone with the block."""
        with self._served(model, environment) as address:
            yield lambda body: invoke(address, "/invocations", body)

    @contextmanager
    def multi_model_endpoint(self, model: Path, environment: Mapping[str, str]) -> Iterator[Ask]:
        """A multi-model endpoint that has loaded `model`; gone with the block."""
        name = model.name.partition(".")[0]
        target = f"/opt/ml/models/{name}/model"
        with self._served(model, {"SAGEMAKER_MULTI_MODEL": "true", **environment}, target) as address:
            loaded = requests.post(f"{address}/models", json={"model_name": name, "url": target}, timeout=300)
            loaded.raise_for_status()
            yield lambda body: invoke(address, f"/models/{name}/invoke", body)

    @contextmanager
    def _served(self, model: Path, environment: Mapping[str, str], target: str = "/opt/ml/model") -> Iterator[str]:
        """The address of a `serve` on an unpacked model, once it answers /ping."""
        unpacked = self.folder / "model"
        unpacked.mkdir(exist_ok=True)
        with tarfile.open(model) as packed:
            for member in packed.getmembers():
                if member.isfile():
                    packed.extract(member, unpacked)
        mount = Mount(unpacked, target, read_only=True)
        run = Run(self.image, ("serve",), environment={**PATIENT, **environment}, mounts=(mount,), ports=(8080,))
        with Engine.connect() as engine, engine.container(run) as container:
            address = f"http://{container.address(8080)}"
            wait(container, address)
            yield address


def wait(container: Container, address: str) -> None:
    """Until /ping answers 200; a server in front of it says 502 before the model is loaded."""
    begun = time.monotonic()
    while True:
        try:
            if requests.get(f"{address}/ping", timeout=5).ok:
                return
        except requests.RequestException:
            pass
        if not container.running or time.monotonic() - begun > READY_SECONDS:
            raise RuntimeError((container.stdout() + container.stderr())[-2000:])
        time.sleep(0.2)


def invoke(address: str, path: str, body: bytes) -> str:
    """What the model says to rows of CSV; raises `requests.HTTPError` with its words."""
    answer = requests.post(address + path, data=body, headers=CSV, timeout=120)
    if not answer.ok:
        raise requests.HTTPError(f"{answer.status_code}: {answer.text}", response=answer)
    return answer.text


def records(content: bytes, most: int) -> Iterator[bytes]:
    """The lines of a file in bodies of at most `most` bytes, as batch transform cuts them (`MultiRecord`, `Line`)."""
    body = b""
    for line in content.splitlines(keepends=True):
        if body and len(body) + len(line) > most:
            yield body
            body = b""
        body += line
    if body:
        yield body
