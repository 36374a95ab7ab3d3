#!/usr/bin/env python3
"""Trains on abalone in a patched image, serves the model from it, and prints predictions with their SHAP values.

usage: predict.py IMAGE [PICTURE]    (IMAGE carries the feature `shap`; pulled when the engine does not hold it)

PICTURE (.png, .svg or .pdf) is a file to draw the same into; it needs matplotlib.
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
from typing import Any

import requests
from picture import Step, Waterfall, draw

from xgbpatch import ImageReference
from xgbpatch.engine.client import Engine
from xgbpatch.engine.types import Mount, Run
from xgbpatch.progress import Silent
from xgbpatch.registry.keychain import Keychain

DATA = Path(__file__).resolve().parent / "data"
FEATURES = ("sex", "length", "diameter", "height", "whole weight", "shucked weight", "viscera weight", "shell weight")
SEXES = {1.0: "male", 2.0: "female", 3.0: "infant"}
SHOWN = 3  # rows
READY_SECONDS = 180
HYPERPARAMETERS = {"num_round": "50", "objective": "reg:squarederror", "max_depth": "5", "eta": "0.2"}
CHANNEL = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "ContentType": "text/csv"}


def main() -> None:
    """Train, serve, ask, print, draw."""
    image = ImageReference.parse(sys.argv[1])
    with Engine.connect() as engine, tempfile.TemporaryDirectory(prefix="abalone-") as folder:
        if engine.image(image) is None:
            engine.pull(image, Keychain()(image), Silent())
        ml = Path(folder)
        prepare(ml)
        trained = engine.run(Run(str(image), ("train",), mounts=(Mount(ml, "/opt/ml"),)))
        if trained.exit_code:
            sys.exit(trained.stdout + trained.stderr)
        with served(engine, str(image), ml) as address:
            response = requests.post(f"{address}/invocations", data=rows(SHOWN), headers=HEADERS, timeout=30)
    response.raise_for_status()
    predictions = response.json()["predictions"]
    show(predictions)
    for path in map(Path, sys.argv[2:3]):
        draw([waterfall(*pair) for pair in zip(records(SHOWN), predictions, strict=True)], path)
        print(path)


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


def records(count: int) -> list[list[float]]:
    """The first rows of the validation data: the rings that were counted, then the features."""
    return [list(map(float, line.split(","))) for line in as_csv("validation.libsvm").splitlines()[:count]]


def rows(count: int) -> str:
    """The same as a request, without the rings."""
    return "".join(",".join(map(str, features)) + "\n" for _, *features in records(count))


@contextmanager
def served(engine: Engine, image: str, ml: Path) -> Iterator[str]:
    """The address of an endpoint on the trained model, once it answers /ping."""
    mount = Mount(ml / "model", "/opt/ml/model", read_only=True)
    run = Run(image, ("serve",), environment={"XGBPATCH_SHAP_LAYOUT": "append"}, mounts=(mount,), ports=(8080,))
    with engine.container(run) as container:
        address = f"http://{container.address(8080)}"
        begun = time.monotonic()
        while not ready(address):
            if not container.running or time.monotonic() - begun > READY_SECONDS:
                sys.exit((container.stdout() + container.stderr())[-2000:])
            time.sleep(0.5)
        yield address


def ready(address: str) -> bool:
    """Whether /ping answers 200; nginx, which starts first, says 502 until the model is loaded."""
    try:
        return requests.get(f"{address}/ping", timeout=5).status_code == requests.codes.ok
    except requests.RequestException:
        return False


def show(predictions: list[dict[str, Any]]) -> None:
    """A line a row: the prediction, the base value, and the three features that moved it most."""
    width = shutil.get_terminal_size((100, 24)).columns
    for prediction in predictions:
        strongest = sorted(zip(FEATURES, prediction["shap_values"], strict=True), key=lambda pair: -abs(pair[1]))[:3]
        moved = ", ".join(f"{name} {value:+.2f}" for name, value in strongest)
        print(f"{prediction['score']:6.2f} rings = base {prediction['base_value']:.2f}, then {moved}, …"[:width])


def waterfall(record: list[float], prediction: dict[str, Any]) -> Waterfall:
    """A row and its prediction, ready to be drawn."""
    rings, sex, *measures = record
    cells = [SEXES[sex], *(f"{measure:g}" for measure in measures)]
    steps = [Step(f"{name} = {cell}", value)
             for name, cell, value in zip(FEATURES, cells, prediction["shap_values"], strict=True)]  # fmt: skip
    title = f"{prediction['score']:.1f} rings predicted, {rings:.0f} counted"
    return Waterfall(title, prediction["base_value"], steps)


if __name__ == "__main__":
    main()
