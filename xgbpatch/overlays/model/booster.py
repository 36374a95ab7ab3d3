"""A booster as its JSON document, as the base calls it, and as trees."""

from __future__ import annotations

import ctypes
import inspect
import json
import mmap
import os
import re
import struct
import tempfile
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Sequence, Tuple, Union

import numpy as np
import xgboost


class Unsuitable(Exception):
    """Why the booster has to predict."""


def configuration(booster: xgboost.Booster) -> Dict[str, Any]:
    """The booster's internal configuration, as the base reads it too."""
    values: Dict[str, Any] = json.loads(booster.save_config())
    return values


def width(booster: xgboost.Booster) -> int:
    """The number of features `booster` was trained on; `num_features` does not exist before xgboost 1.5."""
    if hasattr(booster, "num_features"):
        return int(booster.num_features())
    return int(configuration(booster)["learner"]["learner_model_param"]["num_feature"])


def kind(booster: xgboost.Booster) -> str:
    """What boosts: "gbtree", "dart" or "gblinear"."""
    name: str = configuration(booster)["learner"]["gradient_booster"]["name"]
    return name


def document(
    booster: xgboost.Booster, check: Callable[[int], None] = lambda size: None, arrays: bool = False
) -> Dict[str, Any]:
    """The whole model; `check` gets the bytes of its serialised form before that is parsed, and may raise.

    With `arrays` the numbers of a tree are arrays of numpy's, read-only and of any byte order: a tenth of the memory,
    and of the time. Format: https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html
    """
    if arrays and XGBOOST >= (1, 6):
        with tempfile.TemporaryDirectory() as folder:  # what `save_raw` gives, xgboost keeps a copy of
            path = os.path.join(folder, "model.ubj")
            booster.save_model(path)
            give_back()
            check(os.path.getsize(path))
            with open(path, "rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return _plain_but_trees(_from_ubjson(mapped))
    if "raw_format" in inspect.signature(booster.save_raw).parameters:
        content = bytes(booster.save_raw(raw_format="json"))
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.json")
            booster.save_model(path)
            with open(path, "rb") as file:
                content = file.read()
    check(len(content))
    model: Dict[str, Any] = _with_arrays(content.decode("utf-8")) if arrays else json.loads(content)
    if XGBOOST < (1, 6) and kind(booster) != "gblinear":
        # these releases cut by the parameter of the training, which is not in the model, and 1 in one that was loaded
        trained = configuration(booster)["learner"]["gradient_booster"]
        parallel = trained.get("gbtree", trained)["gbtree_train_param"]["num_parallel_tree"]
        model_of(model)["gbtree_model_param"]["num_parallel_tree"] = parallel
    return model


def give_back() -> None:
    """Return what the C library holds free to the system: xgboost's writer takes four times the file, for a moment."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


def _plain_but_trees(whole: Dict[str, Any]) -> Dict[str, Any]:
    """`whole` with lists in the place of arrays, except in its trees: the rest can be written as JSON."""
    trees = model_of(whole).pop("trees", None)
    plain: Dict[str, Any] = _plain(whole)
    if trees is not None:
        model_of(plain)["trees"] = trees
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


def _with_arrays(text: str) -> Dict[str, Any]:
    """The document, parsed tree by tree. No text within it holds this pattern, since its quotes would be escaped."""
    begin = re.search(r'"trees"\s*:\s*\[', text)
    if begin is None:
        linear: Dict[str, Any] = json.loads(text)
        return linear
    decoder, separator = json.JSONDecoder(), re.compile(r"[\s,]*")
    trees, at = [], _end(separator, text, begin.end())
    while text[at] != "]":
        tree, at = decoder.raw_decode(text, at)
        trees.append({name: _array(name, value) for name, value in tree.items()})
        at = _end(separator, text, at)
    whole: Dict[str, Any] = json.loads(text[: begin.end()] + text[at:])
    model_of(whole)["trees"].extend(trees)
    return whole


def _end(pattern: Any, text: str, at: int) -> int:
    end: int = pattern.match(text, at).end()
    return end


def _array(name: str, value: Any) -> Any:
    if not isinstance(value, list):
        return value
    real = name in ("base_weights", "loss_changes", "split_conditions", "sum_hessian")
    return np.array(value, dtype=np.float32 if real else np.int32)


# Universal Binary JSON, as xgboost writes models since 1.6: typed arrays become numpy's, not lists of objects.
#
# Format: https://ubjson.org, and the writer in xgboost's src/common/json.cc.


# struct's letters of the kinds of numbers; all are big-endian
_NUMBERS = {
    ord(kind): struct.Struct(">" + letter)
    for kind, letter in {"i": "b", "U": "B", "I": "h", "l": "i", "L": "q", "d": "f", "D": "d"}.items()
}
_ARRAYS = {kind: np.dtype(">" + np.dtype(number.format[-1:]).str[1:]) for kind, number in _NUMBERS.items()}
_CONSTANTS = {ord("T"): True, ord("F"): False, ord("Z"): None}
_OBJECT, _OBJECT_END, _LIST, _LIST_END, _KIND, _COUNT, _TEXT, _CHARACTER = b"{}[]$#SC"


def _from_ubjson(content: Union[bytes, mmap.mmap]) -> Any:
    """The document that `content` holds; raises ValueError where it is none."""
    try:
        value, _ = _value(content, 1, content[0])
    except (IndexError, KeyError, struct.error) as error:
        raise ValueError("not a model in UBJSON: {!r}".format(error)) from error
    return value


def _value(content: Union[bytes, mmap.mmap], at: int, kind: int) -> Tuple[Any, int]:
    """The value of that kind whose payload begins at `at`, and where the next one begins."""
    if kind == _LIST:
        return _items(content, at)
    if kind == _TEXT:
        return _text(content, at)
    if kind == _OBJECT:
        return _object(content, at)
    if kind in _NUMBERS:
        return _number(content, at, kind)
    if kind == _CHARACTER:
        return chr(content[at]), at + 1
    return _CONSTANTS[kind], at


def _number(content: Union[bytes, mmap.mmap], at: int, kind: int) -> Tuple[Any, int]:
    number = _NUMBERS[kind]
    return number.unpack_from(content, at)[0], at + number.size


def _text(content: Union[bytes, mmap.mmap], at: int) -> Tuple[str, int]:
    number = _NUMBERS[content[at]]
    end = at + 1 + number.size + number.unpack_from(content, at + 1)[0]
    return content[at + 1 + number.size : end].decode("utf-8"), end


def _object(content: Union[bytes, mmap.mmap], at: int) -> Tuple[Dict[str, Any], int]:
    values: Dict[str, Any] = {}
    while content[at] != _OBJECT_END:
        name, at = _text(content, at)
        values[name], at = _value(content, at + 1, content[at])
    return values, at + 1


def _items(content: Union[bytes, mmap.mmap], at: int) -> Tuple[Any, int]:
    """A list; where the numbers are of one kind an array of numpy's, which is a part of `content`."""
    kind, count = 0, -1
    if content[at] == _KIND:
        kind, at = content[at + 1], at + 2
    if content[at] == _COUNT:
        count, at = _number(content, at + 2, content[at + 1])
    if kind in _NUMBERS:
        code = _ARRAYS[kind]
        array = np.frombuffer(content, code, count, at) if count else np.empty(0, code)
        return array, at + array.nbytes
    values: List[Any] = []
    while len(values) != count and (count >= 0 or content[at] != _LIST_END):
        value, at = _value(content, at, kind) if kind else _value(content, at + 1, content[at])
        values.append(value)
    return values, at if count >= 0 else at + 1


# How the base calls a booster. It decides the tree cut in its own way in every version; what it passes is recorded here
# instead of being repeated.


class PredictCall(NamedTuple):
    """A booster, and the options with which the base asked it to predict, its tree cut among them."""

    booster: xgboost.Booster
    options: Mapping[str, Any]


class RecordingBooster(object):
    """Everything is the booster's. `predict` remembers the options it was called with, and asks `answer` first.

    `answer(dmatrix, options)` returns the booster's own prediction or None; `options` is None until the base predicts.
    """

    def __init__(self, booster: xgboost.Booster, answer: Any = None):
        self.booster = booster
        self.options: Any = None
        self._answer = answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.booster, name)

    def predict(self, data: Any, **options: Any) -> np.ndarray:
        """The booster's prediction; its signature shows no `ntree_limit`, as xgboost's own since 2.0."""
        self.options = options
        prediction = self._answer(data, options) if self._answer else None
        return self.booster.predict(data, **options) if prediction is None else prediction


def options_of(base_predict: Callable[..., Any], booster: xgboost.Booster, model_format: str) -> Mapping[str, Any]:
    """The options with which `base_predict` asks `booster`, its tree cut among them; raises what the base raises."""
    recording = RecordingBooster(booster)
    missing = np.full((1, width(booster)), np.nan, dtype=np.float32)
    base_predict(recording, model_format, xgboost.DMatrix(missing), "text/csv")
    options: Mapping[str, Any] = recording.options
    return options


# The trees of a model document, as the prediction walks them: grouped by output, cut, weighted.


XGBOOST = tuple(int(part) for part in xgboost.__version__.split(".")[:2])
LOGIT = frozenset(["binary:logistic", "reg:logistic"])
LOG = frozenset(["count:poisson", "reg:gamma", "reg:tweedie", "survival:aft", "survival:cox"])


@dataclass(frozen=True)
class Tree:
    """One tree as xgboost's parallel arrays; `condition` holds the threshold of a split and the value of a leaf.

    `left[i] == -1` marks a leaf. A row goes left where `float32(x) < condition`, or where x is missing and
    `default_left`. At a node of `categories` it goes left where int(x) is none of them.
    """

    left: Any
    right: Any
    feature: Any
    condition: Any
    default_left: Any
    cover: Any
    weight: np.float32
    categories: Mapping[int, Sequence[int]] = field(default_factory=dict)

    def levels(self) -> Iterator[List[int]]:
        """The nodes of each level from the root down; pruned nodes stay in the arrays and are in none."""
        level = [0]
        while level:
            yield level
            level = [child for node in level if self.left[node] != -1 for child in (self.left[node], self.right[node])]

    @property
    def size(self) -> int:
        return sum(len(level) for level in self.levels())

    @property
    def depth(self) -> int:
        return sum(1 for _ in self.levels()) - 1


@dataclass(frozen=True)
class Forest:
    """The trees of each output group in the order xgboost adds them, and each group's margin before the first."""

    objective: str
    features: int
    groups: Tuple[Tuple[Tree, ...], ...]
    base: Tuple[np.float32, ...]
    dart: bool = False

    @property
    def trees(self) -> Tuple[Tree, ...]:
        return tuple(tree for group in self.groups for tree in group)


def model_of(document: Mapping[str, Any]) -> Any:
    """The `gbtree` part of a document, of dart models too."""
    booster = document["learner"]["gradient_booster"]
    return booster["gbtree"]["model"] if "gbtree" in booster else booster["model"]


def forest(document: Mapping[str, Any], options: Mapping[str, Any]) -> Forest:
    """The Forest that a prediction with `options` (its tree cut among them) walks.

    Raises Unsuitable where the model has no trees, or trees whose leaves hold several values.
    """
    learner = document["learner"]
    name = learner["gradient_booster"]["name"]
    if name not in ("gbtree", "dart"):
        raise Unsuitable('the booster is "{}"'.format(name))
    model = model_of(document)
    sizes = learner["learner_model_param"]
    outputs = max(1, int(sizes.get("num_class", 0)), int(sizes.get("num_target", 1)))
    # dart's weights stand beside the trees, from xgboost 3.4 on among them
    dropped = learner["gradient_booster"].get("weight_drop") or model.get("weight_drop")
    weights = dropped or [1.0] * len(model["trees"])
    groups: Tuple[List[Tree], ...] = tuple([] for _ in range(outputs))
    first, last = _tree_range(model, outputs, options)
    for raw, group, weight in list(zip(model["trees"], model["tree_info"], weights))[first:last]:
        if int(raw["tree_param"].get("size_leaf_vector", 0) or 0) > 1:
            raise Unsuitable("the model has vector leaves")
        tree = Tree(
            left=raw["left_children"],
            right=raw["right_children"],
            feature=raw["split_indices"],
            condition=np.asarray(raw["split_conditions"], dtype=np.float32),
            default_left=raw["default_left"],
            cover=raw["sum_hessian"],
            weight=np.float32(weight),
            categories=_categories(raw),
        )
        groups[group].append(tree)
    return Forest(
        objective=learner["objective"]["name"],
        features=int(learner["learner_model_param"]["num_feature"]),
        groups=tuple(tuple(group) for group in groups),
        base=_base(learner, outputs),
        dart=bool(dropped),
    )


def _categories(raw: Mapping[str, Any]) -> Dict[int, Sequence[int]]:
    """The set of each categorical split, by its node."""
    rows = zip(raw.get("categories_nodes", ()), raw.get("categories_segments", ()), raw.get("categories_sizes", ()))
    return {node: raw["categories"][begin : begin + size] for node, begin, size in rows}


def _tree_range(model: Any, outputs: int, options: Mapping[str, Any]) -> Tuple[int, int]:
    """The trees that the options keep: `ntree_limit` counts trees a group, `iteration_range` boosting rounds."""
    total = len(model["trees"])
    if options.get("ntree_limit"):
        return 0, min(total, int(options["ntree_limit"]) * outputs)
    begin, end = options.get("iteration_range", (0, 0))
    if "iteration_indptr" in model:
        bounds = model["iteration_indptr"]
        return bounds[min(begin, len(bounds) - 1)], bounds[min(end, len(bounds) - 1)] if end else total
    trees = max(1, int(model["gbtree_model_param"].get("num_parallel_tree", 1))) * outputs
    return min(total, begin * trees), min(total, end * trees) if end else total


def _base(learner: Mapping[str, Any], outputs: int) -> Tuple[np.float32, ...]:
    """base_score as margins; a string holding a number, from xgboost 3.1 a string holding a list of them."""
    scores = json.loads(learner["learner_model_param"]["base_score"])
    scores = scores if isinstance(scores, list) else [scores]
    scores = scores * outputs if len(scores) == 1 else scores
    return tuple(_margin(np.float32(score), learner["objective"]["name"]) for score in scores)


def _margin(score: np.float32, objective: str) -> np.float32:
    margin = score
    if objective in LOGIT or (objective == "binary:logitraw" and XGBOOST < (1, 3)):
        margin = np.float32(-_log(np.float32(1) / score - np.float32(1)))
    elif objective in LOG:
        margin = np.float32(_log(score))
    return margin


def _log(number: np.float32) -> float:
    """As xgboost takes it, from the C library: its `logf` may miss the nearest float32, which `math.log` gives."""
    logf = ctypes.CDLL(None).logf
    logf.argtypes, logf.restype = [ctypes.c_float], ctypes.c_float
    logarithm = float(logf(number))
    if not np.isfinite(logarithm):
        raise Unsuitable("the base score has no finite margin")
    return logarithm
