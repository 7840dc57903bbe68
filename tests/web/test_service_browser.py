"""The service in a real browser, with a server and runs of its own: the first minute, and what it survives."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nights
import pytest
import service
import synthetic
from accessibility import violations
from browser import PATIENCE_MS, until
from playwright.sync_api import Browser, Page
from receiver import AUTHORITY, receiving
from repository import git
from service import started
from standardwebhooks import Webhook

from convbench.actions import tokens
from convbench.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.browser]

WIDTHS = (1440, 390)
#: Two layers in two processes, which take some seconds.
LONGER = """\
name: longer
axes: {in_channels: [3, 8], out_channels: 4, kernel_size: 3, input_size: 32, threads: 1, allocator: system}
measure: {processes: 2, rounds: 5, max_time: 0.2, precision: 0.0005}
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service that began in an empty folder, for the tests that measure through its pages, in their order."""
    with started(tmp_path_factory.mktemp("service")) as (found, _):
        yield found


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that complains of nothing."""
    context = browser.new_context(viewport={"width": WIDTHS[0], "height": 900})
    opened = context.new_page()
    said: list[str] = []
    opened.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    opened.on("pageerror", lambda error: said.append(str(error)))
    yield opened
    context.close()
    # The browser itself says when an answer is a problem, and axe-core looks into frames that are closed to it.
    usual = ("with a status of 422", "with a status of 400", "Failed to execute 'postMessage' on 'DOMWindow'")
    assert [text for text in said if not any(part in text for part in usual)] == []


def checked(page: Page, name: str) -> None:
    """Axe finds nothing where targets are closest together, and at both widths nothing is wider than the window."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        if width == min(WIDTHS):
            assert violations(page) == [], name
        wide = page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{name} at {width}: {wide} pixels too wide"
        if folder := os.environ.get("CONVBENCH_SHOTS"):
            page.screenshot(path=f"{folder}/{name}-{width}.png", full_page=True)
    page.set_viewport_size({"width": WIDTHS[0], "height": 900})


def shown_at_last(page: Page, selector: str) -> None:
    """Show the page again until it has this: the service makes some pages' figures after the first request."""
    end = time.monotonic() + PATIENCE_MS / 1000
    while not page.locator(selector).count():
        assert time.monotonic() < end, page.locator("main").inner_text()
        page.wait_for_timeout(200)
        page.get_by_role("link", name="Show the page again").click()


def test_the_first_minute_from_an_empty_folder_to_a_report(browser: Browser, page: Page, address: str) -> None:
    page.goto(address)
    until(page, "() => document.documentElement.dataset.ready")
    assert page.get_by_role("button", name="Measure quick").is_visible()
    checked(page, "first")
    page.get_by_role("link", name="write a sweep of your own").click()
    page.wait_for_url("**/measure")
    page.locator("#sweep").fill("name: wrong\naxes: {in_channels: three}\n")
    page.get_by_role("button", name="Check").click()
    until(page, "() => document.querySelector('.said li')")
    page.get_by_role("button", name="line 2").first.click()
    assert page.evaluate("() => getSelection().toString()") == "axes: {in_channels: three}", "it leads to the line"
    checked(page, "measure")
    assert not page.get_by_text("Begin with a model of yours").count(), "it runs no code of others"
    page.locator("#sweep").fill(service.TINY)
    page.get_by_role("button", name="Measure", exact=True).click()
    page.wait_for_url("**/jobs/j*")
    assert page.locator("#arrived .free").count() == 1 or page.locator("#arrived [data-case]").count() == 1
    places = "() => ['progress', 'cases', 'arrived', 'log'].map((id) => document.getElementById(id).offsetTop)"
    before = page.evaluate(places)
    until(page, "() => document.querySelectorAll('#arrived tbody tr[data-case]').length === 1")
    until(page, "() => document.getElementById('state').textContent === 'reported'")
    until(page, "() => document.getElementById('to-run')")
    assert page.evaluate(places) == before, "nothing moves while it is measured"
    assert "1 of 1 case," in page.locator("#done").inner_text()
    assert page.locator("#log").inner_text().startswith("run 20")
    checked(page, "job")
    page.get_by_role("link", name="Read the report").click()
    page.wait_for_url("**/runs/2*")
    frame = page.frame_locator("iframe.report")
    frame.locator("h1").first.wait_for()
    assert "tiny" in frame.locator("h1").first.inner_text()
    checked(page, "run")
    for path in ("jobs", "campaigns", "layers", "changes", "machines", "tokens", "sign-in", "runs/none"):
        opened = browser.new_page()  # where a status of 404 is no complaint of the page
        opened.goto(f"{address}/{path}")
        until(opened, "() => document.documentElement.dataset.ready")
        checked(opened, path.replace("/", "-"))
        opened.close()


def test_from_a_schedule_to_a_comparison_and_an_accepted_change(page: Page, address: str, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(service.TINY, encoding="utf-8")
    page.goto(f"{address}/schedules")
    page.locator("[data-shows='times']").filter(has_text="Next: ").wait_for()
    page.locator("input[name=cron]").fill("30 25 * * *")
    page.locator("[data-shows='times']").filter(has_text="bad hour").wait_for()
    checked(page, "schedules-empty")
    page.locator("input[name=cron]").fill("30 2 * * *")
    page.locator("input[name=zone]").fill("Europe/Berlin")
    page.locator("input[name=name]").fill("nightly")
    page.locator("input[type=file]").set_input_files(tmp_path / "tiny.yaml")
    until(page, "() => document.querySelector('#sweep').value.startsWith('name: tiny')")
    page.get_by_role("button", name="Make the schedule").click()
    page.get_by_role("heading", name="Schedule: nightly").wait_for()
    here = page.url
    page.get_by_text("Change it").click()
    page.locator("input[name=cron]").fill("15 4 * * 1")
    checked(page, "schedule-change")
    page.get_by_role("button", name="Change the schedule").click()
    page.get_by_text("15 4 * * 1, Europe/Berlin").wait_for()
    for _ in range(2):
        page.goto(here)
        page.get_by_role("button", name="Run now").click()
        page.get_by_role("heading", name="Job: tiny").wait_for()
        page.locator("#state[data-state='reported']").wait_for(timeout=120_000)
    page.goto(here)
    rows = page.locator("tbody tr")
    assert rows.count() == 2 and "baseline set" in rows.nth(1).inner_text()
    checked(page, "schedule")
    page.get_by_role("link", name="compare with schedule/nightly").first.click()
    page.get_by_role("textbox", name="Reason").fill("another kernel")
    checked(page, "accept")
    page.get_by_role("button", name="Accept").click()
    page.get_by_text("Reason: another kernel").wait_for()
    checked(page, "accepted")
    page.get_by_role("link", name="Runs").click()
    page.wait_for_url("**/runs")
    page.get_by_role("textbox", name="Search").fill("tiny")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**/runs?text=tiny")
    for box in page.locator("#run-table .tick").all()[:2]:
        box.check()
    checked(page, "runs")
    page.locator("#compared a").click()
    page.wait_for_url("**/compare?*")
    page.frame_locator("iframe.report").locator("h1").first.wait_for()
    checked(page, "compare")
    page.goto(f"{address}/schedules")
    checked(page, "schedules")
    page.goto(here)
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Go on").wait_for()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_text("There is no schedule").wait_for()


def test_what_got_slower_leads_to_the_layer_and_to_the_run(page: Page, tmp_path: Path) -> None:
    """Twelve nights: at the seventh torch is another one and all layers take longer, at the tenth one gets faster."""
    runs = nights.nights([1e-3] * 6 + [1.3e-3] * 6, upgrade=7, many=5)
    for number in range(9, 12):
        made = synthetic.blocks(8e-4, processes=3, rounds=4, noise=0.2, seed=number)
        first = synthetic.result(runs[number].results[0].case, made=made)
        runs[number] = replace(runs[number], results=(first, *runs[number].results[1:]))
    service.filled(tmp_path / "reports" / "convbench.db", *runs)
    git(tmp_path, "init", "-q")
    with started(tmp_path, "--trust-modules", "--checkout", "mine=.") as (address, _):
        page.goto(f"{address}/changes?since=2026-11-02")
        shown_at_last(page, "table.changes")
        slower, faster = page.locator("table.changes").all()
        assert "+30.0 %" in slower.inner_text() and "torch 2.12.0" in slower.inner_text()
        assert "1 of 5 cases" in faster.inner_text()
        checked(page, "changes")
        slower.locator(".moved a").first.click()
        page.wait_for_url("**/layers/*")
        page.locator(".moves li.slower").get_by_role("button", name="Find the commit").click()
        page.get_by_text("no checkout of this service has both commits 6666666666 and 7777777777").wait_for()
        checked(page, "layer")
        page.locator(".layer-line a").last.click()
        page.wait_for_url(f"**/runs/{runs[-1].id}")
        page.get_by_text("Its layers over time").click()
        checked(page, "run-layers")
        page.locator(".own-layers a").first.click()
        page.wait_for_url("**/layers/*")
        page.get_by_role("link", name="Layers", exact=True).click()
        page.locator("input[name=text]").fill("bfloat16 forward")
        page.get_by_role("button", name="Show").click()
        page.wait_for_url("**/layers?text=bfloat16*")
        assert page.locator("table.layers tbody tr").count() == 1
        checked(page, "layers")
        page.goto(f"{address}/machines")
        shown_at_last(page, ".noise svg")
        checked(page, "machines-noise")


def test_a_token_is_pasted_once_and_a_hostile_label_cannot_use_it(browser: Browser, tmp_path: Path) -> None:
    """The report of a run whose label is a script, opened by somebody who may do everything."""
    label = "<img src=x onerror=\"fetch('/api/v1/tokens').then(r => r.text()).then(t => document.title = t)\">"
    made = service.run_of(1)
    results = tuple(replace(each, case=replace(each.case, given_label=label)) for each in made.results)
    db = service.filled(tmp_path / "reports" / "convbench.db", replace(made, results=results))
    with Store.create(str(db)) as store:
        text = tokens.create(store, "admin", ["admin"])[1]
    with started(tmp_path) as (address, _):
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{address}/tokens")
        assert page.get_by_text("Tokens are for those with the scope admin").is_visible()
        page.goto(f"{address}/sign-in")
        page.locator("input[name=token]").fill(text)
        page.get_by_role("button", name="Keep it in this browser").click()
        page.get_by_text("You are admin here").wait_for()
        page.goto(f"{address}/tokens")
        assert page.locator("table").first.get_by_text("admin").first.is_visible()
        assert page.evaluate("() => document.cookie") == ""
        page.goto(f"{address}/api/v1/runs/latest/report")
        page.wait_for_selector("html[data-ready]")
        assert page.evaluate("() => self.origin") == "null", "an origin of its own"
        reached = """async (path) => {
            try { return (await fetch(path, {credentials: 'include'})).status } catch { return 'refused' }
        }"""
        assert page.evaluate(reached, f"{address}/api/v1/tokens") == "refused"
        assert "cvb_" not in page.title() and "admin" not in page.title()
        context.close()


def test_a_channel_is_made_tested_changed_and_deleted(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with receiving() as receiver, started(tmp_path, "--allow-webhook-host", "localhost") as (address, _):
        page.goto(f"{address}/notifications")
        checked(page, "notifications-empty")
        page.locator("input[name=name]").fill("team")
        page.locator("input[name=url]").fill(receiver.url)
        page.get_by_label("silent machines").uncheck()
        page.get_by_role("button", name="Make the channel").click()
        secret = page.locator(".said code").inner_text()
        page.goto(f"{address}/notifications")
        assert secret not in page.content() and "s3cret" not in page.content()
        page.get_by_role("button", name="Send a test message to team").click()
        page.get_by_text("The message arrived.").wait_for()
        [(headers, body)] = receiver.got
        assert Webhook(secret).verify(body, headers)["type"] == "convbench.notices"
        page.goto(f"{address}/notifications")
        assert page.locator("td").filter(has_text="confirmed changes, failures of schedules").count() == 1
        assert page.locator(".delivery-state").inner_text() == "sent"
        page.get_by_text("Change team").click()
        checked(page, "notifications")
        form = page.get_by_role("form", name="Change team")
        form.get_by_label("Name").fill("night watch")
        form.get_by_label("failures of schedules").uncheck()
        form.get_by_role("button", name="Change the channel").click()
        page.get_by_text("Change night watch").click()
        form = page.get_by_role("form", name="Change night watch")
        assert not form.get_by_label("failures of schedules").is_checked()
        form.get_by_label("New URL").fill("http://example.org/")
        form.get_by_role("button", name="Change the channel").click()
        form.get_by_text("begins with https://").wait_for()
        for _ in range(2):
            page.get_by_role("button", name="Delete night watch").click()
        page.get_by_text("There is no channel.").wait_for()


def ask(address: str, path: str, body: object = None) -> dict[str, object]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}/api/v1{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        found: dict[str, object] = json.load(answer)
    return found


def test_a_job_whose_service_was_killed_goes_on_once_when_it_comes_back(tmp_path: Path) -> None:
    with started(tmp_path) as (address, process):
        job_id = ask(address, "/jobs", {"sweep": LONGER})["id"]
        end = time.monotonic() + PATIENCE_MS / 1000
        while not (job := ask(address, f"/jobs/{job_id}"))["run_id"] or not _has_visits(tmp_path, str(job["run_id"])):
            assert time.monotonic() < end, job
            time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with started(tmp_path) as (address, process):
        end = time.monotonic() + 120
        while (again := ask(address, f"/jobs/{job_id}"))["state"] not in ("reported", "failed"):
            assert time.monotonic() < end, again
            time.sleep(0.2)
        process.terminate()
        assert process.wait(60) == 0, "it stops without an error"
    assert (again["state"], again["run_id"], again["tries"]) == ("reported", job["run_id"], 0)
    with Store.open(str(tmp_path / "reports" / "convbench.db")) as store:
        [run] = store.runs()
        assert run.cases == sum(run.statuses.values()) == 2


def _has_visits(folder: Path, run_id: str) -> bool:
    with Store.open(str(folder / "reports" / "convbench.db")) as store:
        return bool(store.visits(run_id))
