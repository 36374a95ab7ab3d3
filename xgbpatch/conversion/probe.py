"""Reads a model with the xgboost at hand, writes it as JSON or UBJSON, and predicts rows made of its thresholds.

`main(settings)` is called by a line that follows this text. It writes one zip file: what the model is
(`about.json`), the model, the rows and the predictions. Python 3.7 and newer, numpy and xgboost alone.
"""

import io
import json
import math
import os
import pickle
import sys
import tempfile
import zipfile

MOST_ROWS, MOST_CELLS = 20000, 2000000
OF_THE_BEST = " of the best rounds"


def main(settings):
    sys.path[:0] = [settings["site"]] if settings["site"] else []
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(settings["answer"], "w") as answer:
            (check if settings["reading"] else read)(settings, folder, answer)


def read(settings, folder, answer):
    """The model as JSON, and as settings["to"] where this xgboost can write that; rows for it, and predictions."""
    model, booster = load(settings["model"], settings["pickled"])
    names, types = names_and_types(booster)
    facts = about(booster)
    document = save(model, booster, os.path.join(folder, "model.json"))
    learner = json.loads(document.decode("utf-8"))["learner"]
    parallel, facts["rounds"], facts["best"] = rounds_of(learner, booster)
    missing = missing_of(learner, names, types, parallel, facts["attributes"])
    if missing:
        document = changed(document, **missing)
    answer.writestr("model.json", document)
    if settings["to"] == "ubj" and version() >= (1, 6):
        written = as_ubj(document, folder) if missing else save(model, booster, os.path.join(folder, "model.ubj"))
        answer.writestr("model.ubj", written)
    rows, made_of = rows_of(learner)
    facts.update(made_of, wrapper=wrapper(model))
    arrays = dict(predictions(booster, rows), rows=rows)
    if facts["best"]:
        arrays.update(predictions(booster, rows, facts["best"], parallel))
    for name, array in arrays.items():
        write_array(answer, folder, name, array)
    answer.writestr("about.json", json.dumps(facts))


def missing_of(learner, names, types, parallel, attributes):
    """What old xgboosts do not write: names and the trees of a round (before 1.4), and the rounds of a linear model.

    Without these xgboost 3 takes it for one that was not trained, and its base score for a margin.
    """
    missing = {}
    if names and not learner.get("feature_names"):
        missing.update(feature_names=names, feature_types=types)
    booster = learner["gradient_booster"]
    if (
        booster["name"] == "gbtree"
        and parallel > 1
        and "num_parallel_tree" not in booster["model"]["gbtree_model_param"]
    ):
        parameters = dict(booster["model"]["gbtree_model_param"], num_parallel_tree=str(parallel))
        missing["gradient_booster"] = dict(booster, model=dict(booster["model"], gbtree_model_param=parameters))
    if booster["name"] == "gblinear" and not booster["model"].get("boosted_rounds"):
        best = attributes.get("best_iteration", "0")
        model = dict(booster["model"], boosted_rounds=int(best) + 1 if best.isdigit() else 1)
        missing["gradient_booster"] = dict(booster, model=model)
    return missing


def check(settings, folder, answer):
    """What the xgboost at hand makes of settings["model"], or of the model in settings["reading"], an answer of `read`.

    In the latter case it writes the model where `read` could not, and another base score where this xgboost reads that
    of the model otherwise; with settings["best"] the best rounds alone, where training stopped early.
    """
    reading = zipfile.ZipFile(settings["reading"])
    if settings["model"]:
        _, booster = load(settings["model"], settings["pickled"])
        answer.writestr("about.json", json.dumps(dict(about(booster), differences=compare(reading, booster))))
        return
    own, to = "model." + settings["to"], settings["to"]
    document = reading.read("model.json")
    path = os.path.join(folder, settings["name"])
    differences = scores = None
    for score in [None] + other_scores(document):
        content = document if score is None else changed(document, base_score=score)
        if to == "ubj":
            content = reading.read(own) if score is None and own in reading.namelist() else as_ubj(content, folder)
        with open(path, "wb") as file:
            file.write(content)
        try:
            _, booster = load(path, False)
            unequal = compare(reading, booster)
        except Exception as error:
            if score is None:
                raise
            unequal = [str(error).partition("\n")[0]]
        differences = unequal if differences is None else differences
        if not unequal:
            differences, scores = [], score
            break
        if "from zero" in unequal[0]:  # it is not the base score
            break
    best = json.loads(reading.read("about.json").decode("utf-8"))["best"] if settings["best"] else 0
    if best and not differences:
        content = cut(booster, best, os.path.join(folder, "cut." + to))
        with open(path, "wb") as file:
            file.write(content)
        _, booster = load(path, False)
        differences = compare(reading, booster, OF_THE_BEST)
    answer.writestr(own, content)
    facts = dict(about(booster), differences=differences, base_score=scores, best=best)
    answer.writestr("about.json", json.dumps(facts))


def cut(booster, rounds, path):
    """The model of the first rounds alone, with all that the whole one notes."""
    first = booster[:rounds]
    first.set_attr(**booster.attributes())
    first.feature_names, first.feature_types = booster.feature_names, booster.feature_types
    return save(first, first, path)


def as_ubj(document, folder):
    path = os.path.join(folder, "to-write.json")
    with open(path, "wb") as file:
        file.write(document)
    _, booster = load(path, False)
    return save(booster, booster, os.path.join(folder, "written.ubj"))


def other_scores(document):
    """What another xgboost may take for the base score: the margin of that probability, the probability of that margin,
    and where newer ones write a list, the one number in it."""
    text = json.loads(document.decode("utf-8"))["learner"]["learner_model_param"]["base_score"]
    score = json.loads(text)
    if isinstance(score, list):
        return [repr(float(score[0]))] if len(score) == 1 else []
    margin = math.log(score / (1 - score)) if 0 < score < 1 else None
    return [repr(each) for each in (margin, 1 / (1 + math.exp(-score))) if each is not None and each != score]


def compare(reading, booster, suffix=""):
    """What differs from the answer of `read`, in words; nothing where all is equal, bit for bit.

    A `suffix` names arrays of fewer rounds.
    xgboost before 1.4 may add the base score after the trees, newer ones add it first, so that the last bits of sums
    differ: there the sums from zero are compared bit for bit, and those from the base score within the rounding.
    """
    import numpy as np

    theirs, ours = json.loads(reading.read("about.json").decode("utf-8")), about(booster)
    differences = []
    rows, before = arrays(reading)
    after = predictions(booster, rows)
    added_last = theirs["xgboost"] != ours["xgboost"] and any(
        [int(part) for part in each["xgboost"].split(".")[:2]] < [1, 4] for each in (theirs, ours)
    )
    for name in sorted(after, key=lambda name: "zero" not in name):
        one, other = before[name + suffix], after[name]
        if one.shape != other.shape:
            differences.append("{}: shape {} became {}".format(name, one.shape, other.shape))
            continue
        equal = one.view(np.uint32) == other.view(np.uint32)
        if added_last and "zero" not in name:
            margins = before["margins" + suffix], after["margins"]
            within = np.abs(margins[0] - margins[1]) <= rounding(theirs, before)
            equal |= within if name == "margins" else np.ones_like(equal)
        if not equal.all():
            at = np.argwhere(~equal)[0]
            differences.append(
                "{}: {} of {} differ, such as {!r} and {!r}".format(
                    name, int((~equal).sum()), equal.size, float(one[tuple(at)]), float(other[tuple(at)])
                )
            )
    for name, what in (("names", "feature names"), ("types", "feature types"), ("attributes", "attributes")):
        if theirs[name] != ours[name]:
            differences.append("{}: {} became {}".format(what, theirs[name], ours[name]))
    return differences


def rounding(facts, before):
    """Of as many additions as the longest sum has, at its largest."""
    import numpy as np

    largest = max(float(np.abs(each).max()) for name, each in before.items() if "margins" in name)
    return (facts["trees"] + 1) * largest * 2.0**-23


def arrays(reading):
    import numpy as np

    arrays = {}
    for name in reading.namelist():
        if name.endswith(".npy"):
            with reading.open(name) as stream:
                arrays[name[:-4]] = np.load(io.BytesIO(stream.read()), allow_pickle=False)
    return arrays.pop("rows"), arrays


def write_array(answer, folder, name, array):
    import numpy as np

    path = os.path.join(folder, name + ".npy")
    np.save(path, array, allow_pickle=False)
    answer.write(path, name + ".npy")


def version():
    import xgboost

    return tuple(int(part) for part in xgboost.__version__.split(".")[:2])


def load(path, pickled):
    """(what the file holds, its booster)"""
    import xgboost

    if not pickled:
        booster = xgboost.Booster()
        booster.load_model(path)
        return booster, one_thread(booster)
    try:
        with open(path, "rb") as file:
            model = pickle.load(file)
    except Exception:
        import joblib  # which puts arrays between the opcodes

        model = joblib.load(path)
    booster = model.get_booster() if hasattr(model, "get_booster") else model
    if not isinstance(booster, xgboost.Booster):
        raise SystemExit('the pickle holds "{}", and no booster of xgboost'.format(type(model).__name__))
    return model, one_thread(booster)


def one_thread(booster):
    booster.set_param({"nthread": 1})
    return booster


def save(model, booster, path):
    """What xgboost writes; a wrapper of scikit-learn notes there which classes it has."""
    try:
        model.save_model(path)
    except (TypeError, AttributeError, ValueError):  # a wrapper whose own attributes cannot be written
        booster.save_model(path)
    with open(path, "rb") as file:
        return file.read()


def changed(document, base_score=None, **learner):
    """The document with that base score, and those keys of the learner."""
    model = json.loads(document.decode("utf-8"))
    model["learner"].update(learner)
    if base_score is not None:
        model["learner"]["learner_model_param"]["base_score"] = base_score
    return json.dumps(model).encode("utf-8")


def wrapper(model):
    return "" if type(model).__name__ == "Booster" else type(model).__name__


def names_and_types(booster):
    """xgboost 1.2 has no types, and names f0, f1, … where there are none."""
    names = list(booster.feature_names or ())
    types = list(getattr(booster, "feature_types", None) or ())
    return [] if names == ["f{}".format(place) for place in range(len(names))] else names, types


def about(booster):
    import xgboost

    names, types = names_and_types(booster)
    return {
        "xgboost": xgboost.__version__,
        "names": names,
        "types": types,
        "attributes": {name: value for name, value in booster.attributes().items() if name != "scikit_learn"},
    }


def predictions(booster, rows, best=0, parallel=1):
    """Name → float32: margins and predictions from the model's base score and from zero, of all rounds, or of the first
    that are the `best`, under names that say so."""
    import numpy as np
    import xgboost

    names, types = names_and_types(booster)
    categorical = {"enable_categorical": True} if "c" in types else {}
    limit = {}
    if best:
        limit = {"iteration_range": (0, best)} if version() >= (1, 4) else {"ntree_limit": best * parallel}
    arrays = {}
    for start in ("", " from zero"):
        data = xgboost.DMatrix(
            rows,
            missing=np.nan,
            nthread=1,
            feature_names=booster.feature_names,
            feature_types=types or None,
            **categorical,
        )
        if start:
            zero = np.zeros(arrays["margins"].shape, dtype=np.float32)
            data.set_base_margin(zero if version() >= (1, 6) else zero.reshape(-1))
        for name, margin in (("margins", True), ("predictions", False)):
            answer = booster.predict(data, output_margin=margin, **limit)
            arrays[name + start] = np.ascontiguousarray(answer, dtype=np.float32)
    return {name + OF_THE_BEST: each for name, each in arrays.items()} if best else arrays


def rounds_of(learner, booster):
    """(trees of an output in a round, rounds, best rounds): 0 rounds of gblinear; 0 best rounds where servers predict
    with all, because the booster has no `best_ntree_limit`, by which they go."""
    trees = len(trees_of(learner["gradient_booster"]))
    if not trees:
        return 1, 0, 0
    model = learner["gradient_booster"].get("gbtree", learner["gradient_booster"])["model"]
    total = trees // max(1, len(set(model["tree_info"])))
    limit = int(getattr(booster, "best_ntree_limit", 0) or 0)
    best = booster.attributes().get("best_iteration", "")
    parallel = int(model["gbtree_model_param"].get("num_parallel_tree") or 0)
    if not parallel:  # before 1.4
        parallel = limit // (int(best) + 1) if best.isdigit() else 1
    parallel = max(1, parallel)
    return parallel, total // parallel, limit // parallel if 0 < limit < total else 0


# Rows on both sides of every threshold: one for each leaf that a row can reach, the cells that its path leaves open
# from all thresholds of the feature.


def rows_of(learner):
    """(rows, what they are made of)"""
    import numpy as np

    features = max(1, int(learner["learner_model_param"]["num_feature"]))
    random = np.random.RandomState(0)
    leaves = [leaf for tree in trees_of(learner["gradient_booster"]) for leaf in leaves_of(tree)]
    most = max(64, min(MOST_ROWS, MOST_CELLS // features))
    chosen = leaves
    if len(leaves) > most:
        chosen = [leaves[at] for at in sorted(random.choice(len(leaves), most, replace=False))]
    values = values_of(leaves, features)
    count = max(64, len(chosen))
    rows = np.full((count, features), np.nan, dtype=np.float32)
    for feature, numbers in values.items():
        order = random.permutation(len(numbers))
        rows[:, feature] = np.asarray(numbers, dtype=np.float32)[order[np.arange(count) % len(numbers)]]
    reached = 0
    for at, leaf in enumerate(chosen):
        cells = cells_of(leaf, random)
        reached += cells is not None
        for feature, value in (cells or {}).items():
            rows[at, feature] = value
    rows[-1] = np.nan
    thresholds = sum(len(numbers) // 3 for numbers in values.values())
    trees = len(trees_of(learner["gradient_booster"]))
    made_of = {"rows": count, "leaves": len(leaves), "reached": reached, "thresholds": thresholds, "trees": trees}
    return rows, made_of


def trees_of(gradient_booster):
    """Of gbtree and dart; gblinear has none."""
    holder = gradient_booster.get("gbtree", gradient_booster)
    return holder["model"].get("trees", []) if "model" in holder else []


def leaves_of(tree):
    """The path to each leaf: (feature, threshold or categories, whether it goes left, whether missing goes left)."""
    categories = {}
    for place, node in enumerate(tree.get("categories_nodes", [])):
        begin, size = tree["categories_segments"][place], tree["categories_sizes"][place]
        categories[node] = frozenset(tree["categories"][begin : begin + size])
    left, right = tree["left_children"], tree["right_children"]
    waiting = [(0, ())]
    while waiting:
        node, path = waiting.pop()
        if left[node] == -1:
            yield path
            continue
        split = categories.get(node, tree["split_conditions"][node])
        for child, goes_left in ((left[node], True), (right[node], False)):
            step = (tree["split_indices"][node], split, goes_left, bool(tree["default_left"][node]))
            waiting.append((child, (*path, step)))


def values_of(leaves, features):
    """What cells of each feature may hold: its thresholds, the number below each, and the number above it; categories
    and one that no split names; always a missing one."""
    import numpy as np

    thresholds = {feature: set() for feature in range(features)}
    categories = {feature: set() for feature in range(features)}
    for path in leaves:
        for feature, split, _, _ in path:
            if isinstance(split, frozenset):
                categories[feature] |= split
            else:
                thresholds[feature].add(split)
    values = {}
    for feature in range(features):
        exact = np.asarray(sorted(thresholds[feature]), dtype=np.float32)
        around = [np.nextafter(exact, np.float32(side)) for side in (-np.inf, np.inf)]
        numbers = [*exact.tolist(), *around[0].tolist(), *around[1].tolist(), float("nan")]
        named = sorted(categories[feature])
        numbers += [float(each) for each in named] + ([float(max(named) + 1)] if named else [])
        values[feature] = numbers if len(numbers) > 1 else [0.0, 1.0, -2.5, float("nan")]
    return values


def cells_of(path, random):
    """Cells that lead a row along `path`; None where none do."""
    import numpy as np

    cells = {}
    for feature in {step[0] for step in path}:
        steps = [step for step in path if step[0] == feature]
        options = [float("nan")] if all(goes_left == default for _, _, goes_left, default in steps) else []
        if isinstance(steps[0][1], frozenset):
            rights = [split for _, split, goes_left, _ in steps if not goes_left]
            lefts = frozenset().union(*(split for _, split, goes_left, _ in steps if goes_left))
            allowed = (frozenset.intersection(*rights) if rights else frozenset([max(lefts) + 1])) - lefts
            options += [float(each) for each in sorted(allowed)]
        else:
            low = np.float32(max([split for _, split, goes_left, _ in steps if not goes_left] or [-np.inf]))
            high = np.float32(min([split for _, split, goes_left, _ in steps if goes_left] or [np.inf]))
            below = np.nextafter(high, np.float32(-np.inf))
            options += [float(each) for each in (low, below) if low < high and np.isfinite(each)]
        if not options:
            return None
        cells[feature] = options[random.randint(len(options))]
    return cells
