"""The native library of this machine, loaded through ctypes."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import sys
from typing import Any, Callable, Optional, Tuple

from ..model.choice import Unsuitable

ABI = 2  # of xgbpatch/native/library.h


def load() -> ctypes.CDLL:
    """The library, loaded once; raises Unsuitable where there is none for this machine, or it does not load."""
    library, reason = _loaded(os.path.dirname(os.path.abspath(__file__)))
    if library is None:
        raise Unsuitable(reason)
    return library


@functools.lru_cache(maxsize=None)
def _loaded(folder: str) -> Tuple[Optional[ctypes.CDLL], str]:
    machine = platform.machine()
    path = os.path.join(folder, "libxgbpatch-{}.so".format(machine))
    if not sys.platform.startswith("linux") or not os.path.isfile(path):
        return None, "there is no native library for {} on {}".format(sys.platform, machine)
    try:
        library = ctypes.CDLL(path)
        library.xgbpatch_abi.restype = ctypes.c_int32
        abi = library.xgbpatch_abi()
        if abi == ABI:
            _declare(library)
    except (OSError, AttributeError) as error:
        return None, "the native library does not load: {}".format(error)
    if abi != ABI:
        return (
            None,
            "the native library has the interface {}, {} is needed: scripts/setup makes it in a checkout".format(
                abi, ABI
            ),
        )
    return library, ""


@functools.lru_cache(maxsize=None)
def available() -> bool:
    """Whether `load` gives a library."""
    try:
        load()
    except Unsuitable:
        return False
    return True


@functools.lru_cache(maxsize=None)
def function(name: str, *types: Any, result: Any = ctypes.c_int64) -> Callable[..., Any]:
    """The library's function `name`, whose arguments are of these ctypes; raises Unsuitable."""
    callable_: Any = getattr(load(), name)
    callable_.argtypes, callable_.restype = types, result
    return callable_  # type: ignore[no-any-return]


def _declare(library: ctypes.CDLL) -> None:
    """The types of every function: a pointer is never cut to an int. Raises AttributeError where one is missing."""
    pointer, integer, long, real = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64, ctypes.c_float
    for name, result, arguments in (
        ("forest", pointer, (integer, integer)),
        ("forest_free", None, (pointer,)),
        ("forest_add", integer, (pointer, integer) + (pointer,) * 6 + (real, pointer, pointer, long)),
        ("forest_output", None, (pointer, integer)),
        ("forest_end", integer, (pointer,)),
        ("forest_unexplained", integer, (pointer,)),
        ("forest_bytes", long, (pointer,)),
        ("forest_splits", long, (pointer,)),
        ("margins", integer, (pointer, pointer, long, pointer, integer, integer, pointer)),
        ("link", None, (integer, pointer, long, long, pointer)),
        ("kernels", integer, ()),
        ("kernel_width", integer, (integer,)),
        ("contributions", integer, (pointer, integer, pointer, long, pointer)),
        ("contributions_of_rows", integer, (pointer, integer, pointer, long, pointer)),
        ("interactions", integer, (pointer, integer, pointer, long, pointer)),
    ):
        function = getattr(library, "xgbpatch_" + name)
        function.restype, function.argtypes = result, arguments


def address(array: Any) -> int:
    """Where the numbers of a numpy array begin. The caller holds the array, which is in C order, while it is used."""
    place: int = array.__array_interface__["data"][0]  # half the time of array.ctypes.data
    return place
