"""One engine for SHAP values, in an environment that has it: kernel_worker.py ENGINE.

It writes "ready" or the reason why not, as JSON, then a JSON line for each line it reads: `{"model": file, "rows":
number, "calls": number}` gives processor seconds a call, and the values of the first row; with `"threads": number`, of
the native library, the wall clock's as well. `{"load": file}` gives what loading takes.
"""

import json
import sys
import time

import numpy as np

MISSING = 0.02


def batch(rows, features):
    """Float32 rows with missing cells, the same in every process."""
    random = np.random.RandomState(rows)
    data = random.rand(rows, features).astype(np.float32)
    data[random.rand(rows, features) < MISSING] = np.nan
    return data


def booster_of(file):
    """The model as this environment's xgboost loads it."""
    import xgboost as xgb

    booster = xgb.Booster({"nthread": 1})
    booster.load_model(file)
    booster.set_param({"nthread": 1})
    return booster


def native(file):
    """xgboost's own, its matrix included."""
    import xgboost as xgb

    booster = booster_of(file)
    return lambda data: booster.predict(xgb.DMatrix(data, nthread=1), pred_contribs=True)


def daal4py(file):
    """oneDAL's, by the package's own converter."""
    from daal4py.mb import GBTDAALModel

    booster = booster_of(file)
    model = GBTDAALModel(booster)
    return lambda data: model.predict(data, pred_contribs=True)


def shap(file):
    """The package shap with an explainer that is kept."""
    from shap import TreeExplainer

    explainer = TreeExplainer(booster_of(file))
    return explainer.shap_values


def fasttreeshap(file):
    """Fast TreeSHAP v1, whose v2 is wrong where a cell is missing."""
    from fasttreeshap import TreeExplainer

    explainer = TreeExplainer(booster_of(file), algorithm="v1", n_jobs=1)
    return lambda data: explainer(data, check_additivity=False).values


def shapiq(file):
    """Row by row, as the package is made."""
    from shapiq import TreeExplainer

    explainer = TreeExplainer(booster_of(file), max_order=1, index="SV", min_order=0)
    return lambda data: [explainer.explain(row) for row in data]


def ours(kernel=None):
    """The native library: all of it, or one of its kernels."""

    def made(file):
        from xgbpatch_overlays.model import booster as models
        from xgbpatch_overlays.native.engine import NativeForest

        with open(file) as opened:
            document = json.load(opened)
        forest = NativeForest(models.forest(document, {}), kernel=kernel)
        return forest.contributions

    return made


ENGINES = {
    "native": native,
    "daal4py": daal4py,
    "shap": shap,
    "fasttreeshap": fasttreeshap,
    "shapiq": shapiq,
    "ours": ours(),
    "ours, baseline": ours("baseline"),
    "ours, AVX2": ours("AVX2"),
    "ours, AVX-512": ours("AVX-512"),
}


def features_of(file):
    """How many columns its rows have."""
    with open(file) as opened:
        return int(json.load(opened)["learner"]["learner_model_param"]["num_feature"])


def answer(engines, loaded_models, question):
    """Processor seconds a call, and how the values differ from nothing: the first row's, without the base value."""
    file = question["model"]
    if file not in loaded_models:
        begun = time.process_time()
        loaded_models[file] = (engines(file), features_of(file), time.process_time() - begun)
    explain, features, loaded = loaded_models[file]
    data = batch(question["rows"], features)
    if "threads" in question:
        explain.__self__.threads = question["threads"]
    begun, start = time.process_time(), time.perf_counter()
    for _ in range(question["calls"]):
        values = explain(data)
    wall, seconds = (time.perf_counter() - start) / question["calls"], (time.process_time() - begun) / question["calls"]
    if not isinstance(values, (list, tuple)) or hasattr(values[0], "shape"):
        array = np.asarray(values)
        first = array[0].tolist() if array.shape[0] == len(data) else None
    else:
        first = None
    return {"seconds": seconds, "wall": wall, "load": loaded, "first": first}


def load(file):
    """Conversion and proof of margins, as at the load of a model: processor seconds, and bytes beside the booster.

    `writer` is the peak of xgboost's own serialisation alone, which the conversion begins with; `model` is what the
    library says that its trees take.
    """
    from xgbpatch_overlays.model import booster as models
    from xgbpatch_overlays.native import engine

    booster = booster_of(file)

    def peak(work):
        models.give_back()
        before = _resident("VmRSS")
        with open("/proc/self/clear_refs", "w") as reset:
            reset.write("5")
        begun = time.process_time()
        result = work()
        seconds = time.process_time() - begun
        return result, seconds, _resident("VmHWM") - before, before

    _, _, writer, _ = peak(lambda: booster.save_raw("ubj"))
    accelerator, seconds, most, before = peak(lambda: engine.explaining(booster, {}))
    models.give_back()
    remaining = _resident("VmRSS") - before
    return {
        "seconds": seconds, "peak": most, "kept": remaining, "writer": writer, "model": accelerator.model._forest.bytes,
    }  # fmt: skip


def _resident(name):
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(name + ":"))


def main():
    """Answer what comes on standard input."""
    answers, sys.stdout = sys.stdout, sys.stderr
    loaded_models = {}
    answers.write(json.dumps("ready") + "\n")
    answers.flush()
    for line in iter(sys.stdin.readline, ""):
        try:
            question = json.loads(line)
            reply = (
                load(question["load"]) if "load" in question else answer(ENGINES[sys.argv[1]], loaded_models, question)
            )
        except Exception as error:  # an engine that cannot is named in the report
            reply = {"reason": "{}: {}".format(type(error).__name__, str(error).split("\n")[0][:200])}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
