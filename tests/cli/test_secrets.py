"""Secrets: no password, token or key reaches a database, a file or a terminal, whichever way it came in."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from pathlib import Path

import pytest
import synthetic
from commands import Command

from convbench import sweep as sweeps
from convbench.actions import read
from convbench.analysis.comparison import side_by_side
from convbench.engine.local import LocalEngine
from convbench.errors import RequestError, StoreError, SweepError
from convbench.model.serial import case_from_json, environment_from_json, to_json
from convbench.model.variables import HIDDEN, LONGEST, RECORDED, is_secret, is_whole, recorded, shown
from convbench.report.export import export, read_json
from convbench.report.text.repro import repro
from convbench.store import Store
from convbench.store.place import Place
from convbench.sweep import document
from convbench.sweep.parse import parse as parse_sweep

#: Names of many shapes: families whose other variables are stored, vendors' own, lower case, words at either end.
_NAMES = """
    NVIDIA_API_KEY NGC_API_KEY NVIDIA_LICENSE NVIDIA_ACCOUNT TORCH_HUB_TOKEN TORCH_HOME_AUTH TORCH_REMOTE PYTORCH_SECRET
    PYTORCH_CI_LOGIN CUDA_SECRET CUDA_DOWNLOAD CUDNN_PASSWORD CUDNN_MIRROR OMP_PASSWORD OMP_NOTE KMP_TOKEN KMP_NOTE
    GOMP_KEY GOMP_NOTE MKL_LICENSE_KEY MKL_NOTE ONEDNN_CREDENTIAL ONEDNN_NOTE DNNL_ACCESS_KEY DNNL_NOTE HF_TOKEN
    HUGGING_FACE_HUB_TOKEN AWS_SECRET_ACCESS_KEY AWS_ACCESS_KEY_ID AWS_SESSION_TOKEN GITHUB_TOKEN GH_PAT CI_JOB_TOKEN
    GITLAB_PASSWORD PGPASSWORD MYSQL_PWD DB_PASS DATABASE_URL SENTRY_DSN WANDB_API_KEY OPENAI_API_KEY npm_auth_token
    docker_password my_secret ClientSecret AZURE_CLIENT_SECRET GOOGLE_APPLICATION_CREDENTIALS SSH_KEY SIGNING_PASSPHRASE
    LD_SECRET MALLOC_KEY GLIBC_TOKEN
"""
NAMES = _NAMES.split()
SECRETS = {name: f"s3cr3t-{number:02}-value" for number, name in enumerate(NAMES)}
SWEEP = """
name: guarded
axes:
  in_channels: 3
  out_channels: 4
  kernel_size: 1
  input_size: 4
  env: [{}, {SWEEP_API_KEY: &key s3cr3t-in-the-sweep, PLAIN: told}, {"SWEEP_TOKEN": 's3cr3t ''quoted''', Other: *key}]
measure: {processes: 1, rounds: 1, max_time: 0.01}
compare: {threshold: 0.1}
"""


def test_fifty_secrets_are_made_up() -> None:
    assert len(NAMES) == len(set(NAMES)) >= 50


@pytest.mark.slow
def test_no_secret_reaches_any_output(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real workers once; every verb, every file that it leaves, both streams."""
    text = SWEEP.replace(", Other: *key", "").replace("{}, ", "").replace("  env:", "  allocator: system\n  env:")
    (tmp_path / "sweep.yaml").write_text(text)
    (tmp_path / "plain.yaml").write_text(text.replace("env:", "threads: 1 #"))
    for name, value in {**SECRETS, "OMP_WAIT_POLICY": "PASSIVE"}.items():
        monkeypatch.setenv(name, value)
    said = []

    def convbench(*arguments: str, codes: tuple[int, ...] = (0,)) -> str:
        done = command(*arguments)
        said.append(done.out + done.err)
        assert done.code in codes, done.err
        return done.out

    convbench("plan", "sweep.yaml")
    convbench("run", "sweep.yaml", "--summary", "run.md", "--junit", "run.xml")
    convbench("run", "sweep.yaml", "--fresh")
    listed = convbench("runs").splitlines()
    first, second = listed[2].split()[0], listed[1].split()[0]
    convbench("compare", first, second, "--summary", "compare.md", "-o", "compare.html", codes=(0, 1, 4, 5))
    for form in ("csv", "json", "markdown", "junit", "parquet"):
        convbench("export", "latest", "--format", form, "-o", f"run.{form}")
    convbench("report", "run.json")
    run = read.load(first, db=str(tmp_path / "reports/convbench.db")).run
    assert dict(run.environment.variables)["OMP_WAIT_POLICY"] == "PASSIVE"
    assert {name for result in run.results for name, _ in result.case.env} == {"SWEEP_API_KEY", "PLAIN", "SWEEP_TOKEN"}
    case = run.results[0].case.id
    convbench("history", case)
    convbench("repro", case)
    convbench("explain", case, "-o", "case.html")
    layer = ["--in-channels=3", "--out-channels=4", "--kernel-size=1", "--input-size=4"]
    convbench("explain", *layer, "--env", "{MY_TOKEN: s3cr3t-option}", "-o", "layer.html")
    convbench("explain", *layer, "--env", "MY_TOKEN=s3cr3t-option", codes=(2,))
    monkeypatch.setattr(side_by_side, "SCREEN", 1)
    ab = ["ab", "plain.yaml", "--pairs", "4", "--threshold", "0.5", "--summary", "ab.md", "-o", "ab.html"]
    convbench(*ab, "--a-env", "AB_SECRET=s3cr3t-a", "--b-env", "AB_SECRET=s3cr3t-b", codes=(0, 1, 5))
    convbench("ab", "plain.yaml", "--b-env", "s3cr3t-b", codes=(2,))
    convbench("runs", "--db", "postgresql://s3cr3t-host/db", codes=(2,))
    convbench("runs", "postgresql://joe:s3cr3t-host@host/db", codes=(2,))
    outputs = "\n".join(said)
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "__pycache__"]
    assert {path.suffix for path in files} >= {".db", ".html", ".json", ".csv", ".md", ".xml", ".parquet"}
    for path in files:
        if path.suffix != ".yaml":
            assert b"s3cr3t" not in path.read_bytes(), path
    assert "s3cr3t" not in outputs
    assert "AB_SECRET" in outputs, "names are told"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            (name, "x")
            for name in ("A_KEY", "apikey", "Token", "PGPASSWORD", "X_CREDENTIALS", "GH_PAT", "DB_PASS", "MYSQL_PWD")
        ),
        ("DATABASE_URL", "postgresql://joe:x@host/db"),
        ("LD_PRELOAD", "http://joe:x@host/lib.so"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(name: str, value: str) -> None:
    assert is_secret(name, value)
    assert shown([(name, value)]) == ((name, HIDDEN),)


@pytest.mark.parametrize(
    "name",
    [
        "TOKENIZERS_PARALLELISM",
        "MONKEYPATCH",
        "OMP_NUM_THREADS",
        "PATH",
        "PASSES",
        "AUTHOR",
        "PYTHONPATH",
        *sorted(RECORDED),
    ],
)
def test_what_does_not_is_reported(name: str) -> None:
    assert shown([(name, "1")]) == ((name, "1"),)


def test_of_a_machine_the_variables_of_the_list_alone_are_stored_and_no_endless_value() -> None:
    variables = {**SECRETS, "OMP_NUM_THREADS": "2", "LD_PRELOAD": "x" * 100_000}
    found = dict(recorded(variables.items()))
    assert {name for name, value in found.items() if value == HIDDEN} == {
        "CUDNN_MIRROR",
        "NVIDIA_ACCOUNT",
        "NVIDIA_LICENSE",
    }, "libraries below devices read such names, so these are stored, but no value"
    assert (len(found["LD_PRELOAD"]), is_whole(found["LD_PRELOAD"])) == (LONGEST, False)
    assert found["OMP_NUM_THREADS"] == "2"
    assert len(found) == 5


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("CUDNN_NEW_SWITCH", "1", "1"),
        ("CUBLAS_NEW_SIZE", "4096", "4096"),
        ("HIP_FORCE", "true", "true"),
        ("MIOPEN_DEBUG_NEW", "0", "0"),
        ("NVIDIA_DRIVER_CAPABILITIES", "all", "all"),
        ("NVIDIA_NOTE", "hunter2", HIDDEN),
        ("CUDNN_PATH", "/home/me/cudnn", HIDDEN),
        ("NVIDIA_API_KEY", "1", None),
        ("MIOPEN_TOKEN", "1", None),
        ("OTHER_SWITCH", "1", None),
    ],
)
def test_of_the_libraries_below_devices_every_variable_is_named_and_switches_are_stored(
    name: str, value: str, stored: str | None
) -> None:
    assert dict(recorded([(name, value)])) == ({} if stored is None else {name: stored})


def test_a_secret_of_a_sweep_reaches_the_worker_and_is_nowhere_else() -> None:
    sweep = parse_sweep(SWEEP, "sweep.yaml")
    assert dict(sweep.secrets) == {"SWEEP_API_KEY": "s3cr3t-in-the-sweep", "SWEEP_TOKEN": "s3cr3t 'quoted'"}
    cases = sweeps.cases(sweep).cases
    assert cases[1].env == (("PLAIN", "told"), ("SWEEP_API_KEY", HIDDEN))
    engine = LocalEngine(secrets=sweep.secrets)
    assert engine.variables(cases[1].worker)["SWEEP_API_KEY"] == "s3cr3t-in-the-sweep"
    assert engine.variables(cases[1].worker)["PLAIN"] == "told"
    assert "SWEEP_API_KEY" not in LocalEngine().variables(cases[1].worker), "inherited, not overwritten by a mark"


def test_the_stored_text_of_a_sweep_is_the_same_sweep_without_its_secrets() -> None:
    text = SWEEP.replace(", Other: *key", "")
    sweep = parse_sweep(text, "sweep.yaml")
    assert "s3cr3t" not in sweep.source
    assert "s3cr3t" not in repr(sweep)
    again = parse_sweep(sweep.source, "stored")
    assert sweeps.cases(again) == sweeps.cases(sweep)
    assert (again.secrets, again.compare, again.source) == ((), sweep.compare, sweep.source)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("{A_KEY: hunter2}", "hunter2"),
        ("{A_KEY : 'hun''ter2', B: 1x}", "hun'ter2"),
        ('{"A_K\\x45Y": "hunt\\x65r2"}', "hunter2"),
        ("\n    A_KEY: |-\n      hunter2\n    B: x", "hunter2"),
        ("\n    A_KEY:\n      hunter2\n    B: x", "hunter2"),
        ("\n    ? A_KEY # note\n    : hunter2 # note", "hunter2"),
        ("{B: &b hunter2, A_KEY: *b}", "hunter2"),
        ("{A_KEY: &b hunter2, B: *b}", "hunter2"),
        ("{ä: x, A_KEY: hunter2}".replace("ä", "B"), "hunter2"),
    ],
)
def test_every_way_to_write_a_secret_in_yaml_is_taken_out(written: str, value: str) -> None:
    text = f"# größer, so that bytes are no characters\n{SWEEP.partition('  env')[0]}  env: {written}\n"
    sweep = parse_sweep(text, "sweep.yaml")
    assert sweep.secrets == (("A_KEY", value),)
    assert "hunter2" not in sweep.source
    assert "hun''ter2" not in sweep.source
    assert dict(sweeps.cases(parse_sweep(sweep.source, "again")).cases[0].env)["A_KEY"] == HIDDEN


def test_secrets_do_not_distinguish_cases() -> None:
    base = SWEEP.partition("  env")[0]
    one, other = (sweeps.cases(parse_sweep(f"{base}  env: {{A_KEY: {value}}}", "x")).cases for value in ("a1", "b2"))
    assert [case.id for case in one] == [case.id for case in other]
    with pytest.raises(SweepError, match="expected one value of A_KEY in the whole file, got another one") as caught:
        parse_sweep(f"{base}  env: [{{A_KEY: hunter1}}, {{A_KEY: hunter2}}]", "x")
    assert "hunter" not in caught.value.message


def test_the_ids_of_other_cases_are_what_they_were() -> None:
    base = SWEEP.partition("  env")[0]
    [case] = sweeps.cases(parse_sweep(f"{base}  env: {{OMP_WAIT_POLICY: PASSIVE, X: 'a b'}}", "x")).cases
    assert case.id == "rlpvgwrs56a5"


@pytest.mark.parametrize(
    "written",
    [
        "{A_KEY: 12345678}",
        "{A_KEY: *hunter2}",
        "{A_KEY: !hunter2 x}",
        "{A_KEY: [hunter2]}",
        "{A_KEY: true}",
        "{'A_KEY=hunter2': x}",
        "A_KEY=hunter2",
        "[A_KEY=hunter2]",
    ],
)
def test_a_mistake_in_a_secret_does_not_repeat_it(written: str) -> None:
    with pytest.raises(SweepError) as caught:
        parse_sweep(f"{SWEEP.partition('  env')[0]}  env: {written}\n", "sweep.yaml")
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"
    assert "12345678" not in caught.value.message


def test_old_exports_and_databases_are_read_without_their_secrets(tmp_path: Path) -> None:
    run = synthetic.run(3)
    first = run.results[0]
    old_case = dataclasses.replace(first.case, env=(("A_KEY", "hunter2"), ("B", "x")))
    variables = (("NVIDIA_API_KEY", "hunter2"), ("NVIDIA_NOTE", "hunter2"), ("OMP_NUM_THREADS", "2"))
    old = dataclasses.replace(
        run,
        source=SWEEP.replace("s3cr3t", "hunter2"),
        results=(dataclasses.replace(first, case=old_case), *run.results[1:]),
        environment=dataclasses.replace(run.environment, variables=variables),
    )
    written = export(old, "json")
    assert b"hunter2" in written
    read = read_json(written.decode())
    assert read.environment.variables == (("NVIDIA_NOTE", HIDDEN), ("OMP_NUM_THREADS", "2"))
    assert read.results[0].case.env == (("A_KEY", HIDDEN), ("B", "x"))
    assert b"hunter2" not in export(read, "json")
    assert sweeps.thresholds(read).threshold == 0.1
    assert "hunter2" not in repro(read.results[0].case, LocalEngine().variables(read.results[0].case.worker))


def test_an_old_database_is_read_without_its_secrets(tmp_path: Path) -> None:
    path = tmp_path / "schema_v2.db"
    path.write_bytes((Path(__file__).parent.parent / "data" / "schema_v2.db").read_bytes())
    with sqlite3.connect(path) as connection:
        (stored,) = connection.execute("SELECT environment FROM runs LIMIT 1").fetchone()
        environment = {**json.loads(stored), "variables": [["NVIDIA_API_KEY", "hunter2"], ["OMP_NUM_THREADS", "2"]]}
        connection.execute("UPDATE runs SET environment = ?, source = ?", (json.dumps(environment), SWEEP))
        connection.execute("""UPDATE cases SET settings = '{"env": [["A_KEY", "hunter2"]]}' WHERE position = 0""")
    connection.close()
    with Store.open(str(path)) as store:
        run = store.load("latest")
    assert run.environment.variables == (("OMP_NUM_THREADS", "2"),)
    assert "s3cr3t" not in run.source
    assert b"hunter2" not in export(run, "json")


def test_a_text_that_is_no_yaml_and_may_hold_secrets_is_not_kept() -> None:
    hidden, secrets = document.without_secrets("A_KEY: hunter2\n\tb: [")
    assert ("hunter2" in hidden, secrets) == (False, [])


def test_repro_says_which_secrets_it_lacks() -> None:
    case = sweeps.cases(parse_sweep(SWEEP, "x")).cases[1]
    script = repro(case, LocalEngine().variables(case.worker))
    assert "SWEEP_API_KEY set to what is not stored" in script
    assert "PLAIN=told" in script


def test_nouns_hide_secrets_where_they_are_read() -> None:
    case = synthetic.run(1).results[0].case
    document = to_json(dataclasses.replace(case, env=(("A_KEY", "hunter2"),)))
    assert case_from_json(document).env == (("A_KEY", HIDDEN),)
    environment = dataclasses.replace(synthetic.run(1).environment, variables=(("A_KEY", "hunter2"),))
    assert environment_from_json(to_json(environment)).variables == ()
    with pytest.raises(RequestError, match="the settings make the id"):
        case_from_json({**to_json(case), "id": "another"})


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://hunter2/db",
        "postgresql://hunter2:5432/db",
        "postgresql://joe@hunter2/db",
        "postgresql://joe:p@hunter2@host/db",
        "postgresql://joe:hunter2@x@host/db",
        "postgresql://jo/e:hunter2@host/db",
        "postgresql://joe:hunter2/db",
        "postgresql:joe:hunter2@host/db",
        "postgresql+psycopg:joe:hunter2@host/db",
        "postgresql:///db?host=hunter2",
        "postgresql:///db?host=hunter2&host=other",
        "postgresql://joe:p@127.0.0.1:1/db?pasword=hunter2",
        "postgresql://joe:p@127.0.0.1:1/db?sslmode=hunter2",
        "postgresql://joe:p@127.0.0.1:1/db?connect_timeout=hunter2",
        "postgresql://joe:p@127.0.0.1:1/db?password=hunter2&password=hunter2",
        "postgresql://joe:p@127.0.0.1:1/db?port=hunter2",
        "nosuch://joe:hunter2@host/db",
        "mysql://joe:hunter2@host/db",
    ],
)
def test_a_password_is_not_shown_wherever_in_the_url_it_was_typed(url: str) -> None:
    with pytest.raises(StoreError) as caught:
        Store.open(url)
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"


def test_a_host_is_reported_where_it_is_one_certainly() -> None:
    assert str(Place.of("postgresql://joe:x@db.example.com:5433/bench")) == "postgresql://db.example.com:5433/bench"
    for host in ("localhost", "127.0.0.1"):
        assert str(Place.of(f"postgresql://joe@{host}/bench")) == f"postgresql://{host}/bench"
    assert str(Place.of("postgresql:///bench?host=/run/postgresql")) == "postgresql:///run/postgresql/bench"
    assert str(Place.of("postgresql:///bench")) == "postgresql:///bench"
