"""A server that goes away in the middle of a run: driven by a fake engine, against a real server that is killed."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_engine import FakeEngine, Script
from postgres import Server

from convbench import cli
from convbench import sweep as sweeps
from convbench.conduct import run as runner
from convbench.conduct.listening import Listener
from convbench.conduct.processes import Progress
from convbench.engine.client import WorkerClient
from convbench.errors import DatabaseError
from convbench.model.case import WorkerSettings
from convbench.model.result import PACKED, Run, RunState, unpack_blocks
from convbench.store import Store, send_waiting, waiting, waiting_file

pytestmark = pytest.mark.postgres

#: 80 cases in 3 processes, handed on in 9 cohorts: 240 visits.
SWEEP = """\
name: sent later
axes:
  in_channels: {from: 1, to: 40, step: 1}
  out_channels: 1
  kernel_size: 1
  threads: 1
  input_size: 4
  direction: [forward, backward]
measure: {processes: 3, rounds: 2, max_time: 0.1, precision: 0.0001}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory, and a server that is tried again at once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(waiting, "FIRST_PAUSE_S", 0.0)
    (tmp_path / "sweep.yaml").write_text(SWEEP, encoding="utf-8")
    return tmp_path


Content = tuple[Run, object, list[object]]


@dataclasses.dataclass
class Told:
    """What a run told its user, and what happened at which visit."""

    lines: list[str] = dataclasses.field(default_factory=list)
    waited: list[bool] = dataclasses.field(default_factory=list)
    at: dict[int, Callable[[], object]] = dataclasses.field(default_factory=dict)
    process_finished: Callable[[str, int], None] = lambda run_id, process_index: None

    def progressed(self, progress: Progress) -> None:
        if self.waited[-1:] != [progress.is_waiting]:
            self.waited.append(progress.is_waiting)
        for visits in [visits for visits in self.at if progress.visits_done >= visits]:
            self.at.pop(visits)()

    def listener(self) -> Listener:
        return Listener(progressed=self.progressed, message=self.lines.append, process_finished=self.process_finished)


def measure(url: str, told: Told | None = None) -> str:
    sweep = sweeps.load(Path("sweep.yaml"))
    listener = (told or Told()).listener()
    return runner.run(sweep, sweeps.cases(sweep), engine=FakeEngine(), db=url, listener=listener)


def content(url: str, run_id: str) -> Content:
    """All that is stored of a run but what differs by the hour or the process: its id, times of the clock, the count of
    blocks, the machine's load.
    """
    with Store.open(url) as store:
        run = store.load(run_id)
    processes = tuple((facts.process_index, facts.roofs) for facts in run.processes)
    plain = dataclasses.replace(run, id="", started_at="", finished_at=None, results=(), processes=())
    blocks = [
        (
            dataclasses.replace(result, **dict.fromkeys(PACKED, ())),
            [
                dataclasses.replace(block, start_s=0.0, order=0, host_s=0.0)
                for name in PACKED
                for layout, packed in getattr(result, name)
                for block in unpack_blocks(packed, layout)
            ],
        )
        for result in run.results
    ]
    return plain, processes, blocks


@pytest.fixture(scope="module")
def undisturbed(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Content:
    """What a run stores whose server stays."""
    url = postgres.new_database()
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(tmp_path_factory.mktemp("undisturbed"))
        Path("sweep.yaml").write_text(SWEEP, encoding="utf-8")
        told = Told()
        run_id = measure(url, told)
        assert told.lines == []
        assert list(Path("reports/waiting").iterdir()) == [], "nothing is left on this disk"
    return content(url, run_id)


def test_a_server_stores_what_a_file_does(undisturbed: Content, folder: Path) -> None:
    assert content("own.db", measure("own.db")) == undisturbed
    assert not Path("reports").exists(), "a file needs no second one"


def test_server_that_comes_back_during_the_run_gets_all(postgres: Server, undisturbed: Content) -> None:
    url = postgres.new_database()
    told = Told(at={90: postgres.stop, 170: postgres.start})
    run_id = measure(url, told)
    assert content(url, run_id) == undisturbed
    assert [line.partition(" (")[0] for line in told.lines] == [
        f"cannot use the database {waiting.Place.of(url)}: the server does not answer",
        f"the database {waiting.Place.of(url)} is back: what waited was sent",
    ]
    assert f"results wait in reports/waiting/{run_id}.db" in told.lines[0]
    assert not waiting_file(run_id).exists()


def test_server_that_comes_back_at_the_end_gets_all(
    postgres: Server, undisturbed: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "FIRST_PAUSE_S", 3600.0)
    url = postgres.new_database()
    told = Told(at={90: postgres.stop}, process_finished=lambda run_id, index: postgres.start() if index == 2 else None)
    run_id = measure(url, told)
    assert content(url, run_id) == undisturbed
    assert len(told.lines) == 2


def test_frozen_server_that_goes_on_during_the_run_gets_all(
    postgres: Server, undisturbed: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "TRIES_SHARE", 1e9)  # tried again at once
    url = postgres.new_database()
    told = Told(at={90: postgres.freeze, 170: postgres.thaw})
    run_id = measure(url, told)
    assert content(url, run_id) == undisturbed
    place = waiting.Place.of(url)
    assert [line.partition(" (")[0] for line in told.lines] == [
        f"cannot use the database {place}: the server does not answer",
        f"the database {place} is back: what waited was sent",
    ]
    assert list(Path("reports/waiting").iterdir()) == []
    assert told.waited == [False, True, False], "the line of progress says so while it lasts"


def test_frozen_server_is_tried_seldom_and_gets_all_at_the_end(
    postgres: Server, undisturbed: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, tries = postgres.new_database(), list[str]()

    def tried(store: Store, run_id: str, *, to: Store) -> None:
        tries.append(run_id)
        send(store, run_id, to=to)

    send = Store.send
    monkeypatch.setattr(Store, "send", tried)
    told = Told(
        at={90: postgres.freeze}, process_finished=lambda run_id, index: postgres.thaw() if index == 2 else None
    )
    run_id = measure(url, told)
    assert content(url, run_id) == undisturbed
    assert tries == [run_id], "seconds of silence are followed by many times as long without a try"
    assert len(told.lines) == 2
    assert list(Path("reports/waiting").iterdir()) == []


@pytest.fixture
def left_waiting(postgres: Server) -> tuple[str, str]:
    """The database and the id of a run that was finished while its server was away, which is back now."""
    url = postgres.new_database()
    told = Told(at={90: postgres.stop})
    run_id = measure(url, told)
    postgres.start()
    assert len(told.lines) == 2
    assert "results wait in" in told.lines[0]
    assert told.lines[1].startswith(f"results still wait in reports/waiting/{run_id}.db; `convbench runs`")
    return url, run_id


def test_what_waits_at_the_end_is_sent_by_whoever_looks_next(
    left_waiting: tuple[str, str], undisturbed: Content
) -> None:
    url, run_id = left_waiting
    assert content(str(waiting_file(run_id)), run_id) == undisturbed, "and can be read meanwhile"
    lines: list[str] = []
    send_waiting(url, message=lines.append)
    place = waiting.Place.of(url)
    assert lines == [f"run {run_id}, which waited in reports/waiting/{run_id}.db, was sent to {place}"]
    assert content(url, run_id) == undisturbed
    assert list(Path("reports/waiting").iterdir()) == [], "nor what whoever read it left beside it"
    send_waiting(url, message=lines.append)
    assert len(lines) == 1


def test_the_next_run_sends_what_waits(left_waiting: tuple[str, str], undisturbed: Content) -> None:
    url, run_id = left_waiting
    told = Told()
    assert measure(url, told) != run_id
    assert len(told.lines) == 1
    assert content(url, run_id) == undisturbed


def test_no_password_is_on_this_disk(left_waiting: tuple[str, str], postgres: Server, folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in files)
    assert not [path for path in files if postgres.password.encode() in path.read_bytes()]


def test_it_is_sent_to_its_own_database_alone_by_any_name(
    left_waiting: tuple[str, str], postgres: Server, undisturbed: Content
) -> None:
    url, run_id = left_waiting
    other = postgres.new_database()
    lines: list[str] = []
    with Store.create(other):
        pass
    send_waiting(other, message=lines.append)
    send_waiting("own.db", message=lines.append)
    assert lines == []
    assert waiting_file(run_id).exists()
    send_waiting(url.replace("127.0.0.1", "localhost") + "?hostaddr=127.0.0.1", message=lines.append)
    assert len(lines) == 1
    assert content(url, run_id) == undisturbed


def test_a_server_that_is_still_away_costs_a_line(left_waiting: tuple[str, str], postgres: Server) -> None:
    url, run_id = left_waiting
    postgres.stop()
    lines: list[str] = []
    try:
        send_waiting(url, message=lines.append)
    finally:
        postgres.start()
    assert len(lines) == 1
    assert "was not sent: cannot use the database" in lines[0]
    assert waiting_file(run_id).exists()


def test_a_server_that_is_away_at_the_start_is_a_wrong_request(postgres: Server, folder: Path) -> None:
    url = postgres.new_database()
    postgres.stop()
    try:
        with pytest.raises(DatabaseError, match="the server does not answer"):
            measure(url)
    finally:
        postgres.start()
    assert [path.name for path in folder.iterdir()] == ["sweep.yaml"]


def test_run_that_went_on_elsewhere_is_kept_and_not_mixed(
    postgres: Server, undisturbed: Content, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    url = postgres.new_database()
    told = Told(at={90: postgres.stop})
    run_id = interrupted(url, told, blocks=420)
    postgres.start()
    # This process is the writer, and lives; the server is to believe that the writer was killed.
    postgres.execute(url.rpartition("/")[2], "UPDATE runs SET writer_pid = 1, writer_started = 0")
    (folder / "elsewhere").mkdir()
    with monkeypatch.context() as patched:
        patched.chdir(folder / "elsewhere")
        Path("sweep.yaml").write_text(SWEEP, encoding="utf-8")
        assert measure(url) == run_id
    lines: list[str] = []
    send_waiting(url, message=lines.append)
    assert lines == [f"run {run_id} went on elsewhere; what waited of it is kept in reports/kept/{run_id}.db"]
    *_, visits = content(url, run_id)
    assert visits == undisturbed[-1]
    with Store.open(f"reports/kept/{run_id}.db") as store:
        assert sum(map(len, store.visits(run_id).values())) > 160


def interrupted(url: str, told: Told, *, blocks: int) -> str:
    """A run that ends by Ctrl-C; returns its id."""
    ids: list[str] = []
    sweep = sweeps.load(Path("sweep.yaml"))
    listener = dataclasses.replace(told.listener(), begun=lambda begun: ids.append(begun.run_id))
    engine = FakeEngine(Script(interrupt_after_blocks=blocks))
    with pytest.raises(KeyboardInterrupt):
        runner.run(sweep, sweeps.cases(sweep), engine=engine, db=url, listener=listener)
    return ids[0]


def test_interrupted_while_the_server_is_away_goes_on_when_it_is_back(postgres: Server, undisturbed: Content) -> None:
    url = postgres.new_database()
    run_id = interrupted(url, Told(at={90: postgres.stop}), blocks=420)
    postgres.start()
    told = Told()
    assert measure(url, told) == run_id, "the same run"
    assert len(told.lines) == 1
    assert content(url, run_id) == undisturbed
    assert not waiting_file(run_id).exists()


def test_end_that_arrived_without_anybody_hearing_of_it_is_no_conflict(
    postgres: Server, undisturbed: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, finish = postgres.new_database(), Store.finish

    def unheard(store: Store, *arguments: object) -> None:
        finish(store, *arguments)
        raise DatabaseError("the server went away before it could answer")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "finish", unheard)
        run_id = measure(url)
    assert waiting_file(run_id).exists()
    lines: list[str] = []
    send_waiting(url, message=lines.append)
    assert (len(lines), waiting_file(run_id).exists()) == (1, False)
    assert content(url, run_id) == undisturbed


def test_command_writes_its_report_without_the_server_and_runs_sends_the_results(
    postgres: Server, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    url = postgres.new_database()

    class Leaving(FakeEngine):
        """An engine with whose second worker, in the second process, the server goes away."""

        def start(self, settings: WorkerSettings) -> WorkerClient:
            if self.workers == 1:
                postgres.stop()
            return super().start(settings)

    def command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["convbench", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capfd.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    monkeypatch.setattr("convbench.engine.local.LocalEngine", Leaving)
    monkeypatch.setenv("CONVBENCH_DB", url)
    try:
        code, out, err = command("run", "sweep.yaml")
    finally:
        postgres.start()
    assert code == 0, err
    assert Path(out.strip()).is_file()
    run_id = Path(out.strip()).stem[-20:]
    assert err.count("does not answer") == 1, "when the results begin to wait; nobody asks it again for a page"
    assert f"results wait in reports/waiting/{run_id}.db meanwhile" in err
    assert f"results still wait in reports/waiting/{run_id}.db" in err
    assert "could not write the report yet" not in err, "each process's report is written from this disk"
    assert postgres.password not in err + out

    code, out, err = command("runs")
    assert (code, err) == (
        0,
        f"run {run_id}, which waited in reports/waiting/{run_id}.db, was sent to {waiting.Place.of(url)}\n",
    )
    assert f"{run_id}" in out
    assert "finished" in out
    assert command("report", run_id)[2] == ""


#: The command with a fake engine whose second process begins when a line comes.
COMMAND = """
    import sys
    sys.path.insert(0, sys.argv.pop(1))
    from fake_engine import FakeEngine
    from convbench import cli
    from convbench.engine import local
    class Waiting(FakeEngine):
        def start(self, settings):
            if self.workers == 1:
                print("second process", flush=True)
                sys.stdin.readline()
            return super().start(settings)
    local.LocalEngine = Waiting
    cli.main()
"""


def command(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(COMMAND), str(Path(__file__).parent.parent), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_sigterm_ends_a_run_whose_server_is_frozen_and_keeps_it(postgres: Server, undisturbed: Content) -> None:
    url = postgres.new_database()
    process = command("--db", url, "run", "sweep.yaml")
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "second process\n"
    postgres.freeze()
    try:
        process.stdin.write("\n")
        process.stdin.flush()
        time.sleep(0.5)  # by now it waits for the server, for 2 s, and at its end would for 10 s more
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    finally:
        postgres.thaw()
        process.kill()
    assert process.returncode == 130, err
    assert Path(out.strip()).is_file()
    [path] = Path("reports/waiting").glob("*.db")
    assert f"results still wait in {path}; `convbench runs` with this database sends them" in err
    assert "interrupted: results are kept" in err
    assert "Traceback" not in err
    with Store.open(str(path)) as store:
        assert store.load(path.stem).state is RunState.INTERRUPTED
        kept = store.visits(path.stem)
    told = Told()
    send_waiting(url, message=told.lines.append)
    assert told.lines == [f"run {path.stem}, which waited in {path}, was sent to {waiting.Place.of(url)}"]
    with Store.open(url) as store:
        assert store.visits(path.stem) == kept
    assert list(Path("reports/waiting").iterdir()) == []
    assert measure(url, told) == path.stem, "and the run goes on"
    assert content(url, path.stem) == undisturbed


@pytest.mark.parametrize("verb", [("run", "sweep.yaml"), ("runs",), ("report",), ("baseline", "list")])
def test_verb_with_a_frozen_server_ends_with_a_sentence(postgres: Server, folder: Path, verb: tuple[str, ...]) -> None:
    url = postgres.new_database()
    postgres.freeze()
    try:
        process = command("--db", f"{url}?connect_timeout=2", *verb)
        out, err = process.communicate(timeout=60)
    finally:
        postgres.thaw()
    assert (process.returncode, out) == (2, "")
    assert err.startswith(f"error: cannot use the database {waiting.Place.of(url)}: the server does not answer")
    assert [path.name for path in folder.iterdir()] == ["sweep.yaml"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, DatabaseError("gone")])
@pytest.mark.parametrize("method", ["begin", "take_over"])
def test_beginning_that_fails_leaves_nothing_on_this_disk(
    postgres: Server, monkeypatch: pytest.MonkeyPatch, method: str, error: BaseException
) -> None:
    url = postgres.new_database()
    if method == "take_over":
        interrupted(url, Told(), blocks=420)

    def fails(store: Store, *arguments: object, **more: object) -> None:
        if store.is_file is (method == "take_over"):
            raise error
        undisturbed(store, *arguments, **more)

    # A run that goes on is first sent from its server to this disk, whose file then takes its own identity.
    name = "begin" if method == "begin" else "take_identity"
    undisturbed = getattr(Store, name)
    monkeypatch.setattr(Store, name, fails)
    with pytest.raises(type(error) if isinstance(error, Exception) else KeyboardInterrupt):
        measure(url)
    assert list(Path("reports/waiting").iterdir()) == []


def test_file_that_a_killed_process_was_making_goes_in_time(postgres: Server) -> None:
    folder = Path("reports/waiting")
    folder.mkdir(parents=True)
    old, young = folder / "old.part", folder / "young.part"
    for path in (old, young, folder / "old.part-wal", folder / "old.part-shm"):
        path.write_bytes(b"")
    os.utime(old, (0, 0))
    measure(postgres.new_database())
    assert list(folder.iterdir()) == [young]


def test_what_is_set_aside_keeps_its_newest_visits(tmp_path: Path, postgres: Server) -> None:
    url = postgres.new_database()
    run_id = measure(url)
    made, left = tmp_path / "made.db", waiting_file(run_id)
    with Store.create(str(made)) as store, Store.open(url) as server:
        server.send(run_id, to=store)
        for path in (made, tmp_path / "made.db-wal"):  # as if it were killed now: all is in its log
            shutil.copy(path, left.with_name(path.name.replace("made.db", left.name)))
    kept = waiting.set_aside(left)
    assert content(str(kept), run_id) == content(url, run_id)
    assert list(Path("reports/waiting").iterdir()) == []


#: A run in a process of its own, slow enough to be killed in the middle. It prints how many visits it has made.
RUNS = """
    import sys, time
    sys.path[:0] = [sys.argv[1], sys.argv[1] + "/store"]
    from test_waiting import *
    told = Told()
    def progressed(progress):
        print(progress.visits_done, flush=True)
        time.sleep(0.005)
    told.progressed = progressed
    measure(sys.argv[2], told)
    print(*told.lines, file=sys.stderr, end="")
"""


@pytest.mark.slow
def test_kill_9_while_the_server_is_away_loses_nothing(postgres: Server, undisturbed: Content) -> None:
    url = postgres.new_database()
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(RUNS), str(Path(__file__).parent.parent), url],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None

    def wait_for(visits: int) -> None:
        assert process.stdout is not None
        assert any(float(line) >= visits for line in process.stdout)

    try:
        wait_for(90)
        postgres.stop()
        wait_for(170)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        postgres.start()
    [path] = Path("reports/waiting").glob("*.db")
    with Store.open(str(path)) as store:
        assert store.load(path.stem).state is RunState.INTERRUPTED
        on_disk = store.visits(path.stem)
    assert sum(map(len, on_disk.values())) >= 160
    told = Told()
    with Store.open(url) as store:
        before = store.visits(path.stem)
    assert sum(map(len, before.values())) < sum(map(len, on_disk.values()))
    send_waiting(url, message=told.lines.append)
    with Store.open(url) as store:
        assert store.visits(path.stem) == on_disk
    assert list(Path("reports/waiting").iterdir()) == [], "nor what the killed process left beside the file"
    assert measure(url, told) == path.stem, "and the run goes on"
    assert content(url, path.stem) == undisturbed


def test_run_of_a_living_process_is_left_to_it(postgres: Server) -> None:
    url = postgres.new_database()
    lines: list[str] = []
    told = Told(at={90: lambda: send_waiting(url, message=lines.append)})
    run_id = measure(url, told)
    assert (lines, told.lines) == ([], [])
    with Store.open(url) as store:
        finished: Run = store.load(run_id)
    assert finished.state is RunState.FINISHED
    assert list(Path("reports/waiting").iterdir()) == []


@pytest.mark.slow
def test_four_runs_at_once_into_one_database(postgres: Server, undisturbed: Content) -> None:
    url = postgres.new_database()
    here = str(Path(__file__).parent.parent)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(RUNS), here, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(4)
    ]
    for process in processes:
        _, err = process.communicate(timeout=200)
        assert (process.returncode, err) == (0, b"")
    with Store.open(url) as store:
        ids = [summary.id for summary in store.runs()]
    assert len(ids) == 4
    for run_id in ids:
        assert content(url, run_id) == undisturbed
    assert list(Path("reports/waiting").iterdir()) == []


def test_file_that_holds_something_else_is_left_alone_and_told(postgres: Server) -> None:
    url = postgres.new_database()
    Path("reports/waiting").mkdir(parents=True)
    Path("reports/waiting/notes.db").write_text("not a database, but somebody's")
    told = Told()
    measure(url, told)
    assert len(told.lines) == 1
    assert "run notes waits in reports/waiting/notes.db and was not sent" in told.lines[0]
    assert [path.name for path in Path("reports/waiting").iterdir()] == ["notes.db"]
