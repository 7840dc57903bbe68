"""`campaign`, `machines`, and `compare` and `export` of campaigns, on a database of made-up runs."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import campaigns
import pytest
import synthetic
from campaigns import ARM, EPYC, XEON
from commands import Command
from postgres import Server

from convbench.actions import campaigns as reading
from convbench.cli import completion
from convbench.errors import RunNotFoundError
from convbench.model.campaign import How, machine_key
from convbench.model.result import Run, RunState
from convbench.store import Store, Writer

NAME = "three-machines"


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """The runs of three machines in the default database."""
    made = [run for run, _ in campaigns.runs(24)]
    _store(tmp_path, made)
    return made


def _store(folder: Path, runs: list[Run]) -> None:
    (folder / "reports").mkdir(exist_ok=True)
    campaigns.stored(runs, folder / "reports/convbench.db")


def _conduct(folder: Path, runs: list[Run], **about: object) -> str:
    campaign = campaigns.conducted(runs, **about)
    with Store.change(str(folder / "reports/convbench.db")) as store:
        store.begin_campaign(campaign, Writer.of_this_process())
        store.finish_campaign(campaign.id, campaign.state, campaign.finished_at or campaign.started_at)
    return campaign.id


# campaign


def test_a_sweeps_name_shows_its_newest_run_on_every_machine(command: Command, tmp_path: Path, runs: list[Run]) -> None:
    older = campaigns.run(EPYC, synthetic.cases(24), id="20261101-033000-olde", started_at="2026-11-01T03:30:00+00:00")
    unfinished = replace(older, id="20261130-033000-newe", started_at="2026-11-30T03:30:00+00:00")
    _store(tmp_path, [older, replace(unfinished, state=RunState.INTERRUPTED)])
    said = command("campaign", NAME)
    assert said.code == 0 and said.err == ""
    assert f"{NAME}: 24 cases on 3 machines" in said.out
    for letter, run in zip("ABC", runs, strict=True):
        key = machine_key(run.environment, run.processes).id
        assert re.search(rf"^{letter} .*\n?.*{key}", said.out, re.MULTILINE)
        assert run.id in said.out and run.environment.hostname in said.out
    assert older.id not in said.out and unfinished.id not in said.out
    assert "Intel Xeon Platinum 8481C is the fastest of 3 machines in " in " ".join(said.out.split())
    path = Path(said.out.splitlines()[-1])
    assert path == Path(f"reports/campaign-{NAME}.html") and path.is_file()


def test_every_time_in_the_table_is_that_of_the_run(command: Command, runs: list[Run]) -> None:
    said = command("campaign", NAME, "--no-page")
    assert "reports/" not in said.out
    first = re.search(r"^ *(\S+ us) +(\S+ us) +(\S+ us)  B 1\.05x", said.out, re.MULTILINE)
    assert first is not None
    machines = (EPYC, XEON, ARM)
    case = max(synthetic.cases(24), key=lambda case: min(campaigns.floor_s(case, each) for each in machines))
    for text, environment in zip(first.groups(), machines, strict=True):
        assert float(text.split()[0]) == pytest.approx(campaigns.floor_s(case, environment) * 1e6, rel=0.02)


def test_prices_give_images_for_a_dollar(command: Command, runs: list[Run]) -> None:
    prices = ("--price", "epyc-1=0.5", "--price", f"{machine_key(XEON).id}=3", "--price", "arm-1=1")
    said = command("campaign", NAME, "--no-page", *prices)
    assert "$0.50" in said.out and "$3.00" in said.out
    assert "a dollar pays for the most images on AMD EPYC 7B13 in 24 of 24 cases" in " ".join(said.out.split())
    wrong = command("campaign", NAME, "--price", "epyc=1")
    assert wrong.code == 2 and "no host or machine of this campaign is called 'epyc'" in wrong.err


def test_a_sweeps_file_means_its_name(command: Command, tmp_path: Path, runs: list[Run]) -> None:
    text = f"name: {NAME}\naxes: {{in_channels: 3, out_channels: 4, kernel_size: 1, input_size: 8}}\n"
    (tmp_path / "sweep.yaml").write_text(text, encoding="utf-8")
    assert command("campaign", "sweep.yaml", "--no-page").out == command("campaign", NAME, "--no-page").out


def test_one_machine_alone_is_shown_and_said(command: Command, tmp_path: Path) -> None:
    _store(tmp_path, [campaigns.run(EPYC, synthetic.cases(6))])
    said = command("campaign", NAME)
    assert said.code == 0 and f"{NAME}: 6 cases on 1 machine\n" in said.out
    assert "fastest" not in said.out
    page = Path(said.out.splitlines()[-1]).read_text(encoding="utf-8")
    assert "One machine alone measured this sweep" in page


def test_all_hosts_have_a_column_each(command: Command, tmp_path: Path, runs: list[Run]) -> None:
    second = campaigns.run(replace(EPYC, hostname="epyc-2"), synthetic.cases(24), id="20261125-033000-seco")
    _store(tmp_path, [second])
    assert "on 3 machines" in command("campaign", NAME, "--no-page").out
    said = command("campaign", NAME, "--no-page", "--all-hosts").out
    assert "on 4 machines" in said and "AMD EPYC 7B13 (epyc-1)" in said and "AMD EPYC 7B13 (epyc-2)" in said


def test_all_hosts_are_those_of_the_sweep_and_not_of_its_newest_campaign(
    command: Command, tmp_path: Path, runs: list[Run]
) -> None:
    id = _conduct(tmp_path, runs[2:])
    assert "on 1 machine\n" in command("campaign", NAME, "--no-page").out
    assert "on 3 machines" in command("campaign", NAME, "--no-page", "--all-hosts").out
    said = command("campaign", id, "--all-hosts")
    assert said.code == 2 and f"--all-hosts: campaign {id} has the hosts that it was measured on" in said.err


def test_a_host_beyond_its_own_history_is_told(command: Command, tmp_path: Path) -> None:
    made = []
    for day, factor in enumerate((1.0, 1.0, 1.0, 1.5)):
        begun = f"2026-11-2{day}T03:30:00+00:00"
        run = campaigns.run(EPYC, synthetic.cases(2), id=f"2026112{day}-033000-days", started_at=begun)
        made.append(synthetic.referred(run, dict.fromkeys(synthetic.ReferenceKind, factor)))
    _store(tmp_path, made[:3])
    assert "beyond its own history" not in command("campaign", NAME, "--no-page").out
    _store(tmp_path, made[3:])
    said = " ".join(command("campaign", NAME, "--no-page").out.split())
    assert "epyc-1: reference layers took 1.50 times as long as in the slowest of the host's 3 earlier runs" in said


def test_what_is_not_stored_is_an_error_with_a_hint(command: Command, tmp_path: Path, runs: list[Run]) -> None:
    said = command("campaign", "three-machine")
    assert said.code == 2 and "no run of a sweep called 'three-machine' is stored" in said.err
    assert "did you mean three-machines?" in said.err
    assert "stored are runs of three-machines" in command("campaign", "quick").err
    unfinished = replace(campaigns.run(EPYC, synthetic.cases(2), name="half"), id="20261125-033000-half")
    _store(tmp_path, [replace(unfinished, state=RunState.INTERRUPTED)])
    assert "no run of 'half' in reports/convbench.db has finished" in command("campaign", "half").err
    assert "no campaign 'c20269999' is stored" in command("campaign", "c20269999").err
    both = command("campaign", NAME, "--no-page", "-o", "x.html")
    assert both.code == 2 and "got -o and --no-page" in both.err


def test_a_stored_campaign_is_shown_by_its_id_and_by_its_name(
    command: Command, tmp_path: Path, runs: list[Run]
) -> None:
    name = _conduct(tmp_path, runs[:2])
    for ref in (name, name[:9], NAME):
        page = command("campaign", ref).out.splitlines()[-1]
        if ref != NAME:
            assert page == f"reports/campaign-{NAME}-{name}.html"
            assert "on 2 machines" in command("campaign", ref, "--no-page").out


def test_a_name_means_the_campaign_of_its_newest_run(command: Command, tmp_path: Path) -> None:
    made, controls = campaigns.shared(24, factor=1.3)
    _store(tmp_path, made)
    name = _conduct(tmp_path, made, how=How.SPLIT, controls=controls)
    said = " ".join(command("campaign", NAME).out.split())
    assert f"campaign-{NAME}-{name}.html" in said and "24 cases on 1 machine" in said
    assert "This is not one run: times of different hosts are not comparable" in said
    newer = campaigns.run(XEON, synthetic.cases(24), id="20261127-033000-newr", started_at="2026-11-27T03:30:00+00:00")
    _store(tmp_path, [newer])
    said = " ".join(command("campaign", NAME, "--no-page").out.split())
    assert "24 cases on 1 machine" in said and newer.id in said, (
        "a shard of a shared sweep is no run of the whole sweep"
    )


@pytest.mark.postgres
def test_hosts_that_wrote_to_one_server_are_a_campaign(command: Command, postgres: Server) -> None:
    """The plain way: an ordinary run on each host with one `--db`, and the sweep's name anywhere."""
    url = postgres.new_database()
    made = [run for run, _ in campaigns.runs(12)]
    campaigns.stored(made, url)
    said = command("campaign", NAME, "--no-page", "--db", url)
    assert said.code == 0 and f"{NAME}: 12 cases on 3 machines" in said.out
    assert all(run.id in said.out and run.environment.hostname in said.out for run in made)
    listed = command("machines", "--db", url)
    assert "Neoverse-V2" in listed.out
    assert command("runs", "--delete", made[0].id, "--db", url).code == 0
    assert "12 cases on 2 machines" in command("campaign", NAME, "--no-page", "--db", url).out
    assert postgres.password not in said.out + said.err + listed.out


def test_a_campaign_whose_runs_are_gone_says_so(tmp_path: Path, runs: list[Run]) -> None:
    lost = campaigns.run(EPYC, synthetic.cases(2), id="20261130-033000-lost")
    name = _conduct(tmp_path, [lost])
    with pytest.raises(RunNotFoundError, match=f"no run of campaign {name} is stored"):
        reading.campaign(name, db=str(tmp_path / "reports/convbench.db"))


# machines


def test_machines_lists_every_key_with_hosts_roofs_and_runs(command: Command, tmp_path: Path, runs: list[Run]) -> None:
    second = campaigns.run(replace(EPYC, hostname="epyc-2"), synthetic.cases(2), started_at="2026-11-25T03:30:00+00:00")
    _store(tmp_path, [second, campaigns.on_gpu(campaigns.run(ARM, synthetic.cases(2), id="20261101-033000-gpua"))])
    found = json.loads(command("machines", "--json").out)
    by_name = {one["name"]: one for one in found}
    assert set(by_name) == {"AMD EPYC 7B13", "Intel Xeon Platinum 8481C", "Neoverse-V2", "NVIDIA H200"}
    epyc = by_name["AMD EPYC 7B13"]
    assert (epyc["hosts"], epyc["runs"], epyc["last_run"]["id"]) == (["epyc-2", "epyc-1"], 2, second.id)
    assert epyc["key"] == machine_key(EPYC).id and epyc["noise"] is None
    assert {roof["dtype"]: roof["flops_per_s"] for roof in epyc["roofs"]} == {"float32": 9e10, "bfloat16": 1.6e11}
    assert [copy["bytes"] for copy in epyc["copies"]] == [2**15, 2**20, 2**28]
    assert by_name["NVIDIA H200"]["machine"]["devices"] == [
        {"model": "NVIDIA H200", "memory_gib": 150, "power_limit_w": 700}
    ]
    text = command("machines").out
    for one in found:
        assert one["key"] in text and one["name"] in text


def test_machines_of_an_empty_database(command: Command, tmp_path: Path) -> None:
    _store(tmp_path, [])
    with Store.create(str(tmp_path / "reports/convbench.db")):
        pass
    assert command("machines").out == "no machine is known yet; `convbench run CONFIG` measures on this one\n"
    assert json.loads(command("machines", "--json").out) == []


# compare


def _two(folder: Path, *, factor: float = 1.0, torch: str = "2.13.0+cpu") -> tuple[str, str]:
    """The ids of two campaigns: the second has six slower cases on one machine, and this torch on another one."""
    cases = synthetic.cases(24)
    base = [campaigns.run(each, cases, id=f"20261120-03300{at}-base") for at, each in enumerate((EPYC, XEON, ARM))]
    new = [
        campaigns.run(EPYC, cases, id="20261121-033000-newr", factor=factor, only=cases[:6]),
        campaigns.run(replace(XEON, torch=torch), cases, id="20261121-033001-newr"),
    ]
    _store(folder, [*base, *new])
    return (
        _conduct(folder, base, id="c20261120-033000-base"),
        _conduct(folder, new, id="c20261121-033000-newr"),
    )


def test_each_machine_has_its_own_verdict_and_the_worst_code_counts(command: Command, tmp_path: Path) -> None:
    base, new = _two(tmp_path, factor=1.3)
    said = command("compare", base, new, "--junit", "j.xml", "--summary", "s.md")
    assert said.code == 1
    assert said.out.endswith(
        "only in BASE: Neoverse-V2\nAMD EPYC 7B13: regressed\nIntel Xeon Platinum 8481C: unchanged\n"
    )
    assert said.out.count("on AMD EPYC 7B13:\n") == 1 and said.out.count("\nregressed: ") == 1
    assert re.findall(r"page: (\S+)", said.err) == [
        "reports/compare-20261120-033000-base-20261121-033000-newr.html",
        "reports/compare-20261120-033001-base-20261121-033001-newr.html",
    ]
    suites = ElementTree.fromstring(Path("j.xml").read_text(encoding="utf-8"))
    failures = {suite.get("name"): suite.get("failures") for suite in suites}
    assert failures == {f"{NAME} on AMD EPYC 7B13": "6", f"{NAME} on Intel Xeon Platinum 8481C": "0"}
    summary = Path("s.md").read_text(encoding="utf-8")
    assert summary.startswith("- AMD EPYC 7B13: regressed\n- Intel Xeon Platinum 8481C: unchanged\n- only in BASE: ")
    assert "\n## AMD EPYC 7B13\n\n### convbench, three-machines: regressed\n" in summary
    assert command("compare", base, new, "--no-page", "--fail-on", "none").code == 0


def test_a_machine_that_cannot_be_compared_is_said_and_does_not_stop_the_others(
    command: Command, tmp_path: Path
) -> None:
    base, new = _two(tmp_path, torch="2.14.0")
    said = command("compare", base, new, "--no-page")
    assert said.code == 4
    assert (
        "\nAMD EPYC 7B13: unchanged\nIntel Xeon Platinum 8481C: not comparable: 20261120-033001-base and " in said.out
    )
    assert command("compare", base, new, "--no-page", "--across-environments").code == 0


def test_campaigns_without_a_common_machine_cannot_be_compared(command: Command, tmp_path: Path) -> None:
    cases = synthetic.cases(4)
    base = campaigns.run(EPYC, cases, id="20261120-033000-abcd", name="sweep-0")
    new = campaigns.run(XEON, cases, id="20261121-033000-abcd", name="sweep-1")
    _store(tmp_path, [base, new])
    said = command("compare", "sweep-0", "sweep-1")
    assert said.code == 4 and "have no machine in common" in said.err
    assert "sweep-0 is of AMD EPYC 7B13; sweep-1 is of Intel Xeon Platinum 8481C" in said.err


def test_a_campaign_and_a_run_are_not_compared(command: Command, tmp_path: Path) -> None:
    base, _ = _two(tmp_path)
    said = command("compare", base, "latest")
    assert said.code == 2 and f"{base} is a campaign, and latest is none" in said.err
    wanted = command("compare", base, base, "-o", "x.html")
    assert wanted.code == 2 and "-o names one page, and 3 machines have one each" in wanted.err


def test_a_baseline_comes_before_a_sweep_of_its_name(command: Command, tmp_path: Path, runs: list[Run]) -> None:
    assert command("baseline", "set", NAME, runs[0].id).code == 0
    said = command("compare", NAME, runs[0].id, "--no-page")
    assert said.code == 0 and "machine" not in said.out


# export


def test_the_csv_of_a_campaign_has_the_rows_of_every_machine(command: Command, runs: list[Run]) -> None:
    rows = list(csv.DictReader(io.StringIO(command("export", NAME).out)))
    assert len(rows) == 3 * 24
    assert list(rows[0])[:5] == ["machine", "machine_key", "hosts", "run", "case_id"]
    for run in runs:
        own = [row for row in rows if row["run"] == run.id]
        key = machine_key(run.environment, run.processes)
        assert {(row["machine_key"], row["hosts"]) for row in own} == {(key.id, run.environment.hostname)}
        alone = list(csv.DictReader(io.StringIO(command("export", run.id).out)))
        assert [{name: row[name] for name in alone[0]} for row in own] == alone


def test_other_formats_of_a_campaign_are_refused(command: Command, runs: list[Run]) -> None:
    for arguments, got in ((("--format", "json"), "--format json"), (("--samples",), "--samples")):
        said = command("export", NAME, *arguments)
        assert said.code == 2 and f"{NAME} is a campaign, got {got}" in said.err


# Completion


def test_a_shell_completes_sweeps_and_campaigns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: list[Run]
) -> None:
    monkeypatch.setenv("CONVBENCH_DB", str(tmp_path / "none.db"))
    assert completion.campaigns("") == [], "without a database it fails in silence"
    name = _conduct(tmp_path, runs)
    monkeypatch.setenv("CONVBENCH_DB", str(tmp_path / "reports/convbench.db"))
    assert completion.campaigns("") == [name, NAME]
    assert completion.campaigns("th") == [NAME]
    monkeypatch.setenv("CONVBENCH_DB", "postgresql://nobody@nowhere/nothing")
    assert completion.campaigns("") == [], "a server may be slow to answer"


def test_a_page_of_many_cases_is_written_on_request(
    command: Command, monkeypatch: pytest.MonkeyPatch, runs: list[Run]
) -> None:
    monkeypatch.setattr("convbench.cli.campaign.MOST_CASES", 10)
    said = command("campaign", NAME)
    assert said.code == 0 and "no page written for 24 cases; request one with -o FILE" in said.err
    assert command("campaign", NAME, "-o", "x.html").out.endswith("\nx.html\n")


def test_a_shared_sweep_reads_as_one_run(command: Command, tmp_path: Path) -> None:
    made, controls = campaigns.shared(24)
    _store(tmp_path, made)
    name = _conduct(tmp_path, made, how=How.SPLIT, controls=controls)
    path = command("report", name).out.strip()
    assert path == f"reports/{NAME}-{name}-0.html" and "All 24 cases are right" in Path(path).read_text(
        encoding="utf-8"
    )
    exported = json.loads(command("export", name, "--format", "json").out)
    assert {result["host"] for result in exported["results"]} == {"epyc-1", "epyc-2"}
    said = command("campaign", name)
    assert f'href="{NAME}-{name}-0.html"' in Path(said.out.splitlines()[-1]).read_text(encoding="utf-8")
    page = html.unescape(Path(path).read_text(encoding="utf-8"))
    assert "6 control cases: the hosts epyc-1, epyc-2 lie " in page and "within the cases' spread of " in page
    assert command("runs", "--delete", made[1].id).code == 0
    path = command("report", name).out.strip()
    assert f"(epyc-2) lacks {made[1].id}: deleted, or not sent" in Path(path).read_text(encoding="utf-8")
    others = [campaigns.run(each, synthetic.cases(4)) for each in (XEON, ARM)]
    _store(tmp_path, others)
    several = _conduct(tmp_path, others, id="c20261128-033000-seve")
    wrong = command("report", several)
    assert wrong.code == 2 and f"campaign {several} has 2 machines, and a run has one" in wrong.err
