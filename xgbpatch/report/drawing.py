"""The one module that imports vl-convert: Vega-Lite's own code, which draws pictures here and charts in the page."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from xgbpatch.errors import ExtraMissingError

WIDTH = 680  # of a picture, in CSS pixels
SCALE = 2  # pixels of a PNG file for each
SCALE_IN_PAGE = 1.3
MOST_OUTLINES = 250  # things drawn as outlines in the page


def png(spec: dict[str, Any]) -> bytes:
    """A picture of the chart, 680 CSS pixels wide, at twice that resolution."""
    whole = {**spec, "width": WIDTH, "background": "white", "padding": 8}
    picture: bytes = _library().vegalite_to_png(whole, scale=SCALE)
    return picture


def still(spec: dict[str, Any]) -> tuple[str, bytes]:
    """(media type, picture) for the page: lines stay lines, many points are pixels, as fewer bytes."""
    whole = {**spec, "width": WIDTH, "background": "white", "padding": 8}
    if len(spec["data"]["values"]) <= MOST_OUTLINES:
        return "image/svg+xml", _library().vegalite_to_svg(whole).encode()
    return "image/png", _library().vegalite_to_png(whole, scale=SCALE_IN_PAGE)


def javascript() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script that defines `vegaEmbed`; about 900 kB."""
    script: str = _library().javascript_bundle()
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def require() -> None:
    """Raise `ExtraMissingError` where the library is missing: before files are read for an hour."""
    _library()


def _library() -> ModuleType:
    try:
        import vl_convert
    except ImportError as error:
        raise ExtraMissingError("a report", "report") from error
    library: ModuleType = vl_convert
    return library
