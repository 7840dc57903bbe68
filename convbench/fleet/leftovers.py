"""Removes what campaigns have left on a host: folders of shards that nobody has asked for since."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

#: How long a campaign's folder stays on a host without a change, seconds: 30 days.
KEPT_S = 30 * 86400.0


def remove_old(fleet: Path, now: float) -> None:
    """Remove the folders of campaigns below `fleet` in which nothing has changed for `KEPT_S` before `now`.

    `now` is in seconds since 1970. A folder in which a process works stays. What cannot be removed stays too.
    """
    with suppress(OSError):
        for campaign in list(fleet.iterdir()):
            if now - _changed_at(campaign) > KEPT_S and not _is_in_use(campaign):
                shutil.rmtree(campaign, ignore_errors=True)


def _changed_at(folder: Path) -> float:
    """When something in a folder changed last, seconds since 1970."""
    return max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")))


def _is_in_use(folder: Path) -> bool:
    """Whether a process of this host has its current folder there, as a shard has."""
    place = folder.resolve()
    return any(found.is_relative_to(place) for found in _current_folders())


def _current_folders() -> Iterator[Path]:
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):  # another user's process, or one that has just ended
            yield link.readlink()
