#!/usr/bin/env python3
"""Trains on abalone in a patched image, serves the model from it, and prints predictions with their SHAP values.

usage: predict.py IMAGE        (IMAGE carries the feature `shap`; pulled when the engine does not hold it)
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from xgbpatch import ImageReference
from xgbpatch.engine.client import Engine
from xgbpatch.engine.values import Mount, Run
from xgbpatch.keychain import registry_keychain
from xgbpatch.progress import Silent

DATA = Path(__file__).resolve().parent / "data"
FEATURES = ("sex", "length", "diameter", "height", "whole", "shucked", "viscera", "shell")
HYPERPARAMETERS = {"num_round": "50", "objective": "reg:squarederror", "max_depth": "5", "eta": "0.2"}
CHANNEL = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "ContentType": "text/csv"}


def main() -> None:
    """Train, serve, ask, print."""
    image = ImageReference.parse(sys.argv[1])
    with Engine.connect() as engine, tempfile.TemporaryDirectory(prefix="abalone-") as folder:
        if engine.image(image) is None:
            engine.pull(image, registry_keychain()(image), Silent())
        ml = Path(folder)
        prepare(ml)
        trained = engine.run(Run(str(image), ("train",), mounts=(Mount(ml, "/opt/ml"),)))
        if trained.exit_code:
            sys.exit(trained.stdout + trained.stderr)
        with served(engine, str(image), ml) as address:
            show(requests.post(f"{address}/invocations", data=rows(3), headers=HEADERS, timeout=30))


HEADERS = {"Content-Type": "text/csv", "Accept": "application/json"}


def prepare(ml: Path) -> None:
    """The files that SageMaker puts under /opt/ml before it runs `train`: channels as CSV, label first, no header."""
    for folder in ("input/config", "input/data/train", "input/data/validation", "model", "output"):
        (ml / folder).mkdir(parents=True)
    documents = {
        "hyperparameters": HYPERPARAMETERS,
        "inputdataconfig": {"train": CHANNEL, "validation": CHANNEL},
        "resourceconfig": {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"},
    }
    for name, document in documents.items():
        (ml / f"input/config/{name}.json").write_text(json.dumps(document), encoding="utf-8")
    (ml / "input/data/train/train.csv").write_text(as_csv("train_0.libsvm") + as_csv("train_1.libsvm"))
    (ml / "input/data/validation/validation.csv").write_text(as_csv("validation.libsvm"))


def as_csv(name: str) -> str:
    """`label index:value …` lines as `label,value,…` lines; every abalone row has all eight values in order."""
    lines = (DATA / name).read_text(encoding="utf-8").split("\n")
    return "".join(",".join(word.split(":")[-1] for word in line.split()) + "\n" for line in lines if line.strip())


def rows(count: int) -> str:
    """The first rows of the validation data, without their label."""
    return "".join(line.split(",", 1)[1] + "\n" for line in as_csv("validation.libsvm").splitlines()[:count])


@contextmanager
def served(engine: Engine, image: str, ml: Path) -> Iterator[str]:
    """The address of an endpoint on the trained model, once it answers /ping."""
    mount = Mount(ml / "model", "/opt/ml/model", read_only=True)
    run = Run(image, ("serve",), environment={"XGBPATCH_SHAP_LAYOUT": "append"}, mounts=(mount,), ports=(8080,))
    with engine.container(run) as container:
        address = f"http://{container.address(8080)}"
        for _ in range(120):
            try:
                if requests.get(f"{address}/ping", timeout=5).status_code == requests.codes.ok:
                    break
            except requests.ConnectionError:
                time.sleep(0.5)
        else:
            sys.exit(container.stdout() + container.stderr())
        yield address


def show(response: requests.Response) -> None:
    """A line a row: the prediction, the base value, and the three features that moved it most."""
    response.raise_for_status()
    width = shutil.get_terminal_size((100, 24)).columns
    for prediction in response.json()["predictions"]:
        strongest = sorted(zip(FEATURES, prediction["shap_values"], strict=True), key=lambda pair: -abs(pair[1]))[:3]
        moved = ", ".join(f"{name} {value:+.2f}" for name, value in strongest)
        print(f"{prediction['score']:6.2f} rings = base {prediction['base_value']:.2f}, then {moved}, …"[:width])


if __name__ == "__main__":
    main()
