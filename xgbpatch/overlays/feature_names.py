"""What the features of a model are called."""

from __future__ import annotations

from typing import Any, Optional, Tuple

from . import booster_json, model_folder


def of(booster: Any, folder: Optional[str]) -> Tuple[str, ...]:
    """The model's own names, else those beside it in `folder` (None: not known), else f0, f1, ...

    Raises model_folder.ModelFolderError where the file beside it names another number of features.
    """
    width = booster_json.width(booster)
    numbered = tuple("f{}".format(number) for number in range(width))
    own = tuple(getattr(booster, "feature_names", None) or ())
    if len(own) == width and own != numbered:
        return own
    return (folder and _beside(folder, width)) or numbered


def _beside(folder: str, width: int) -> Optional[Tuple[str, ...]]:
    found = model_folder.feature_names(folder)
    if found is not None and len(found) != width:
        raise model_folder.ModelFolderError(
            '"{}" names {} features, the model has {}'.format(
                model_folder.path(folder, model_folder.FEATURE_NAMES), len(found), width
            )
        )
    return found
