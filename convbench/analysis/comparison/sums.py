"""The data of what changed between two networks: sums over their layers, and layers that are not equal. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from convbench.analysis.network.parts import Part
from convbench.model.case import Case

#: The reason of cases that are matched by path instead of being judged.
BY_PATH = "matched by path"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """The seconds of one part of both networks, NaN where a side has no time of it.

    `low` to `high` is the interval of `ratio`: the noise of all layers is added up, as if it moved them together.
    `name` are the settings of both sides, "" where there is one way to run them. `base_lacks` and `new_lacks` say which
    layers the sums leave out, "" where there are none. `lack_alike` is whether both leave out the same ones.
    """

    part: Part
    name: str
    base_s: float
    new_s: float
    low: float
    high: float
    base_lacks: str = ""
    new_lacks: str = ""
    lack_alike: bool = True

    @property
    def ratio(self) -> float:
        """New over base."""
        return self.new_s / self.base_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Reshaped:
    """A layer with the same module path and direction on both sides, but another shape or other settings.

    Times are seconds per iteration, NaN where there is none. The counts of the cases are the occurrences that are
    matched: of several equal layers only some may have changed.
    """

    base: Case
    new: Case
    base_s: float
    new_s: float

    @property
    def ratio(self) -> float:
        """New over base."""
        return self.new_s / self.base_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """A case of one side, and its seconds in all occurrences; NaN without a time."""

    case: Case
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Recounted:
    """An equal case that occurs another number of times."""

    case: Case
    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkChange:
    """What changed between two networks beside their equal cases, which have a judgment each."""

    sums: tuple[Sum, ...]
    reshaped: tuple[Reshaped, ...] = ()
    recounted: tuple[Recounted, ...] = ()
    only_base: tuple[Alone, ...] = ()
    only_new: tuple[Alone, ...] = ()
