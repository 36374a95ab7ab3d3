"""The Dockerfiles of a stand-in base, rendered from `templates/`; values in, text out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from xgbpatch.standin.installation import Prefix
from xgbpatch.standin.interpreter import Interpreter
from xgbpatch.standin.versions import StandinVersion

PLUGIN_SOURCE = "/usr/share/xgbpatch-standin/plugin"  # compiled in the image: its Java brings the compiler
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INPUTS_LABEL = "io.xgbpatch.standin.inputs"
VERSION_LABEL = "io.xgbpatch.standin"
DIFFERENCES_LABEL = "io.xgbpatch.standin.differences"


@dataclass(frozen=True)
class Layout:
    """A version on the Python that this machine has: where things lie in the image.

    `venv` is the version's, or forced by a Python of the system, which finds its packages only that way.
    """

    version: StandinVersion
    interpreter: Interpreter

    @property
    def venv(self) -> bool:
        return self.version.venv or self.interpreter.distribution

    @property
    def prefix(self) -> Prefix:
        return Prefix(self.version.prefix, self.interpreter.minor)

    @property
    def home(self) -> str:
        """The prefix of the interpreter itself."""
        return "/usr" if self.venv else self.version.prefix

    @property
    def stdlib(self) -> str:
        return f"{self.home}/lib/python{self.interpreter.minor}"

    @property
    def site_packages(self) -> str:
        """As the environment of the official image writes it."""
        return self.version.site_packages.replace(f"python{self.version.python}", f"python{self.interpreter.minor}")


def render_os(inputs: str) -> str:
    """The Dockerfile that turns `root.tar` into an image."""
    return _render("os.Dockerfile.j2", {"inputs": inputs})


def render_runtime(layout: Layout, os_image: str, inputs: str) -> str:
    """Interpreter and packages on the operating system; the images' own repairs of two packages included."""
    minor = int(layout.interpreter.minor.split(".")[1])
    return _render(
        "runtime.Dockerfile.j2",
        {
            "os": os_image,
            "plugin": PLUGIN_SOURCE,
            "inputs": inputs,
            "executable": layout.prefix.executable,
            "stdlib": layout.stdlib,
            "site_packages": layout.prefix.site_packages,
            "python_is_newer_than_collections": minor >= 10,
            "refuses_pickled_arrays": layout.version.name.startswith("3."),
        },
    )


def render_image(layout: Layout, runtime: str, labels: Mapping[str, str]) -> str:
    """AWS's packages as we wrote them, the environment, and the labels, last."""
    environment = {"PATH": f"{layout.prefix.path}/bin:{_SYSTEM_PATH}", **layout.version.environment}
    filled = {name: value.replace("{site_packages}", layout.site_packages) for name, value in environment.items()}
    context = {"runtime": runtime, "environment": filled.items(), "labels": {**layout.version.labels, **labels}.items()}
    return _render("image.Dockerfile.j2", context)


def differences(layout: Layout, moved: tuple[str, ...]) -> str:
    """What a reader must know that is not as in the official image."""
    version, interpreter = layout.version, layout.interpreter
    here = () if interpreter.minor == version.python else (f"Python {interpreter.version} and not {version.python}",)
    return "; ".join((*version.differences, *here, *moved))


def template_text(name: str) -> str:
    """A file of `templates/` that goes into the image as it is."""
    return files(__package__).joinpath(f"templates/{name}").read_text(encoding="utf-8")


def _render(template: str, context: Mapping[str, object]) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - a Dockerfile is no HTML
    )
    return environment.get_template(template).render(context)
