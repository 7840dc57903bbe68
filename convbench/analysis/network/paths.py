"""Module paths: what the paths of several layers have in common, so that a table need not repeat it. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def without_common(paths: Sequence[str]) -> tuple[str, list[str]]:
    """The modules that all paths begin with, and the paths without them; at least one part of each path stays.

    `["net.a.conv1", "net.a.conv2"]` gives `("net.a", ["conv1", "conv2"])`. A single path stays as it is.
    """
    parts = [path.split(".") for path in paths]
    most = min(map(len, parts), default=1) - 1 if len(paths) > 1 else 0
    common = next((at for at in range(most) if len({part[at] for part in parts}) > 1), most)
    return ".".join(parts[0][:common]) if parts else "", [".".join(part[common:]) for part in parts]
