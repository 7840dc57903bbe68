"""The changes of a sweep in a file, for the service that comes next."""

from __future__ import annotations

from pathlib import Path

import nights
import pytest
import service

from convbench.actions import kept_changes, over_time
from convbench.actions.over_time import Change
from convbench.errors import RequestError

FLOORS = [1e-3] * 4 + [1.3e-3] * 4


@pytest.fixture
def asked(tmp_path: Path) -> tuple[Path, list[tuple[str, str]], list[str], str]:
    runs = nights.nights(FLOORS, upgrade=5, many=2)
    path = kept_changes.path_of(tmp_path / "changes", "runs.db", "nightly", "machine")
    assert path is not None
    state = [(run.id, run.finished_at or "") for run in runs]
    return path, state, [run.id for run in runs], str(service.filled(tmp_path / "runs.db", *runs))


def test_what_was_computed_comes_from_the_file_while_the_runs_are_the_same(
    asked: tuple[Path, list[tuple[str, str]], list[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, state, run_ids, db = asked
    [made] = kept_changes.changes(path, state, run_ids, db)
    assert (made.stepped, made.cases) == (2, 2) and made.differences
    computed: list[object] = []

    def compute(run_ids: list[str], db: str) -> tuple[Change, ...]:
        computed.append(run_ids)
        return ()

    monkeypatch.setattr(over_time, "changes", compute)
    assert kept_changes.changes(path, state, run_ids, db) == (made,) and not computed
    assert kept_changes.changes(None, state, run_ids, db) == () and computed.pop() == run_ids
    path.write_text(path.read_text().replace('"stepped": 2', '"stepped": "two"'))
    assert kept_changes.changes(path, state, run_ids, db) == () and computed.pop() == run_ids
    assert kept_changes.changes(path, state, run_ids, db) == () and not computed
    assert kept_changes.changes(path, state[1:], run_ids[1:], db) == () and computed.pop() == run_ids[1:]


def test_a_folder_that_cannot_be_written_costs_time_alone(
    asked: tuple[Path, list[tuple[str, str]], list[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, content: bytes) -> None:
        raise RequestError(f"cannot write {path}: the disk is full")

    monkeypatch.setattr(kept_changes, "write_bytes", refuse)
    path, *rest = asked
    assert len(kept_changes.changes(path, *rest)) == 1 and not path.exists()


def test_each_sweep_machine_and_database_has_a_file_of_its_own() -> None:
    folder = Path("kept")
    names = [("a.db", "s", "m"), ("b.db", "s", "m"), ("a.db", "t", "m"), ("a.db", "s", "n"), ("a.db", "sm", "")]
    assert len({kept_changes.path_of(folder, *each) for each in names}) == len(names)
    assert kept_changes.path_of(None, "a.db") is None
