"""Who may do what: tokens, the cookie, this machine's user, pages of other sites, and the list of writes."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

import pytest
import service
from service import HERE, serving
from starlette.testclient import TestClient

from convbench.actions import tokens as verbs
from convbench.actions.jobs import checked
from convbench.errors import RequestError
from convbench.store import Store
from convbench.web.pages import Pages
from convbench.web.server import refuse_open
from convbench.web.settings import Settings, is_loopback
from convbench.web.state import Service

JOB = {"sweep": service.TINY}
READ, WRITE, ADMIN = "/api/v1/runs", "/api/v1/jobs", "/api/v1/tokens"


@pytest.fixture(autouse=True)
def checks_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps are checked in this process, which spares each test the start of another one."""
    monkeypatch.setattr(Pages, "check", lambda self, text: checked(text))


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


def token(served: Service, *scopes: str, days: int = 1) -> str:
    return verbs.create(served.store, "ci", scopes, days=days)[1]


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def asked(client: TestClient, **headers: str) -> list[int]:
    """The statuses of reading, submitting and listing tokens."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return [
        client.get(READ, headers=given).status_code,
        client.post(WRITE, json=JOB, headers=given).status_code,
        client.get(ADMIN, headers=given).status_code,
    ]


def test_this_machines_user_may_do_everything_while_there_is_no_token_then_read(db: Path) -> None:
    with serving(db) as (client, served):
        assert asked(client) == [200, 201, 200]
        token(served, "read")
        assert asked(client) == [200, 401, 401]


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        (["read"], [200, 403, 403]),
        (["submit"], [403, 201, 403]),
        (["read", "submit"], [200, 201, 403]),
        (["report"], [403, 403, 403]),
        (["admin"], [200, 201, 200]),
    ],
)
def test_a_token_may_do_what_its_scopes_say(db: Path, scopes: list[str], expected: list[int]) -> None:
    with serving(db, host="0.0.0.0", address="192.0.2.7", url="http://bench:8321") as (client, served):
        assert asked(client, **bearer(token(served, *scopes))) == expected


def test_others_need_a_token_even_to_read(db: Path) -> None:
    with serving(db, host="0.0.0.0", address="192.0.2.7", url="http://bench:8321") as (client, served):
        text = token(served, "admin")
        assert asked(client) == [401, 401, 401]
        refused = client.get(READ)
        assert refused.headers["www-authenticate"] == "Bearer"
        assert refused.headers["content-type"] == "application/problem+json"
        assert "convbench token create" in refused.json()["hint"]
        for wrong in (f"{text}x", "x", text.upper(), "cvb_"):
            assert asked(client, **bearer(wrong)) == [401, 401, 401]
        assert asked(client, Authorization=f"Basic {text}") == [401, 401, 401]
        served.tokens.revoke(served.tokens.list()[0].prefix, "2026-11-30")
        assert asked(client, **bearer(text)) == [401, 401, 401]


def test_public_read_lets_everybody_read_and_nothing_else(db: Path) -> None:
    with serving(db, host="0.0.0.0", address="192.0.2.7", url="http://bench", public_read=True) as (client, served):
        token(served, "admin")
        assert asked(client) == [200, 401, 401]


@pytest.mark.parametrize("host", ["evil.example", "bench", "127.0.0.1.evil.example", "", "[::2]:8321"])
def test_a_name_that_was_made_to_lead_here_gets_nothing(db: Path, host: str) -> None:
    with serving(db) as (client, _):
        assert asked(client, Host=host) == [403, 403, 403]
        assert "no name of this machine" in client.get(READ, headers={"Host": host}).json()["detail"]


@pytest.mark.parametrize("host", ["127.0.0.1:8321", "localhost:8321", "LOCALHOST", "[::1]:8321", "127.9.9.9"])
def test_names_of_this_machine_are_its_own(db: Path, host: str) -> None:
    with serving(db) as (client, _):
        assert client.get(READ, headers={"Host": host}).status_code == HTTPStatus.OK


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP", "X-Forwarded-Host"])
def test_what_a_proxy_hands_on_does_not_come_from_this_machines_user(db: Path, name: str) -> None:
    with serving(db) as (client, _):
        assert asked(client, **{name: "192.0.2.7"}) == [401, 401, 401]
    with serving(db, root="/bench") as (client, _):
        assert client.get("/bench/api/v1/runs").status_code == HTTPStatus.UNAUTHORIZED


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_page_of_another_site_cannot_write_in_the_readers_name(db: Path, headers: dict[str, str]) -> None:
    with serving(db) as (client, served):
        assert client.post(WRITE, json=JOB, headers=headers).status_code == HTTPStatus.FORBIDDEN
        assert client.post("/api/v1/session", json={"token": "x"}, headers=headers).status_code == HTTPStatus.FORBIDDEN
        assert client.post(WRITE, json=JOB, headers={"Origin": HERE}).status_code == HTTPStatus.CREATED
        text = token(served, "admin")
        client.post("/api/v1/session", json={"token": text}, headers={"Origin": HERE})
        assert client.post(WRITE, json=JOB, headers=headers).status_code == HTTPStatus.FORBIDDEN, "with the cookie"
        assert client.post(WRITE, json=JOB, headers=headers | bearer(text)).status_code == HTTPStatus.CREATED


def test_the_browser_keeps_a_token_that_no_script_reads_and_no_other_site_sends(db: Path) -> None:
    with serving(db, host="0.0.0.0", address="192.0.2.7", url="https://bench") as (client, served):
        text = token(served, "read", "submit")
        assert client.post("/api/v1/session", json={"token": f"{text}x"}).status_code == HTTPStatus.UNAUTHORIZED
        kept = client.post("/api/v1/session", json={"token": f" {text}\n"}, headers={"Origin": "https://bench"})
        assert kept.json() == {"name": "ci", "scopes": ["read", "submit"]}
        for word in ("HttpOnly", "SameSite=strict", "Secure", "Path=/"):
            assert word in kept.headers["set-cookie"]
        assert client.get(READ).status_code == HTTPStatus.OK
        assert client.post(WRITE, json=JOB).status_code == HTTPStatus.FORBIDDEN, "a browser names the origin"
        written = client.post(WRITE, json=JOB, headers={"Origin": "https://bench"})
        assert written.json()["submitted_by"] == "ci"
        assert client.get("/api/v1/session").json()["name"] == "ci"
        client.post("/api/v1/session/end", headers={"Origin": "https://bench"})
        assert client.get(READ).status_code == HTTPStatus.UNAUTHORIZED


def test_every_write_is_listed_with_who_what_and_how_it_ended(db: Path) -> None:
    with serving(db) as (client, served):
        job_id = client.post(WRITE, json=JOB).json()["id"]
        client.post(f"{WRITE}/{job_id}/cancel")
        client.post(f"{WRITE}/nothing/cancel")
        made = client.post(ADMIN, json={"name": "anna", "scopes": ["read"]}).json()
        client.get(READ)
        client.post(WRITE, json=JOB, headers={"Origin": "http://evil.example"})
        listed = [(one.action, one.target, one.status) for one in served.tokens.writes()]
        assert listed == [
            ("POST /api/v1/tokens", made["prefix"], 201),
            ("POST /api/v1/jobs/{job_id}/cancel", "nothing", 404),
            ("POST /api/v1/jobs/{job_id}/cancel", job_id, 200),
            ("POST /api/v1/jobs", job_id, 201),
        ]
        assert {(one.who, one.address) for one in served.tokens.writes()} == {("this machine's user", "127.0.0.1")}
        text = made["token"]
        answers = [client.get(path, headers=bearer(text)).text for path in (READ, ADMIN, "/api/v1/writes", "/tokens")]
        assert text not in "".join(answers) and text.encode() not in b"".join(
            each.read_bytes() for each in db.parent.iterdir() if each.is_file()
        )


def test_a_service_that_others_reach_does_not_start_without_a_token(db: Path) -> None:
    with Store.create(str(db)) as store:
        for host in ("0.0.0.0", "::", "192.0.2.1", "bench.example"):
            with pytest.raises(RequestError, match="there is no token") as refused:
                refuse_open(store, Settings(host=host, public_read=True))
            assert "convbench token create" in (refused.value.hint or "")
        for host in ("127.0.0.1", "localhost", "::1"):
            refuse_open(store, Settings(host=host))
        verbs.create(store, "admin", ["admin"])
        refuse_open(store, Settings(host="0.0.0.0"))


def test_what_is_a_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "localhost.evil.example", "", "1")))
