"""The sweeps that come with the package: the files of shipped/, which are those of the same names in configs/."""

from __future__ import annotations

from importlib import resources

from convbench.errors import RequestError
from convbench.model.nearest import did_you_mean

#: Their names, the one to begin with first.
NAMES = ("quick", "sweep", "notebook", "resnet50")


def named(given: str) -> str:
    """The text of the shipped sweep that `given` names; `given` itself where it names none, as a sweep's text does."""
    return text_of(given.strip()) if given.strip() in NAMES else given


def text_of(name: str) -> str:
    """The YAML text of the shipped sweep with this name; RequestError where there is none."""
    if name not in NAMES:
        raise RequestError(
            f"no sweep {name!r} comes with convbench, only {', '.join(NAMES)}", hint=did_you_mean(name, NAMES)
        )
    return (resources.files("convbench.sweep") / "shipped" / f"{name}.yaml").read_text(encoding="utf-8")
