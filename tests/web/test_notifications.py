"""Notifications over HTTP and in the service: what is sent, what is shown, and what nobody gets to see."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from receiver import AUTHORITY, Receiver, receiving, talking, trusting
from service import serving
from standardwebhooks import Webhook
from starlette.testclient import TestClient

from convbench.actions.silence import LONGEST, SHORTEST
from convbench.model.notice import CHOSEN_KINDS, GATHER_S, PAUSES_S, DeliveryState
from convbench.model.token import Scope
from convbench.store import Store, Writer
from convbench.store.deliveries import Deliveries
from convbench.store.notices import NAMED
from convbench.web.logs import _Lines
from convbench.web.notifier import Notifier
from convbench.web.settings import Settings
from convbench.web.state import Service
from convbench.web.webhook import TOTAL_S

V1 = "/api/v1"
AT = "2026-11-30T12:00:00.000000+00:00"
#: Later than any try of a message, so that all its tries come at once.
LAST = "9999"
HOSTS = ("localhost",)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[TestClient, Service]]:
    with serving(tmp_path / "runs.db", webhook_hosts=HOSTS) as made:
        yield made


def made(client: TestClient, receiver: Receiver, name: str = "team", **more: Any) -> dict[str, Any]:
    answer = client.post(f"{V1}/channels", json={"name": name, "url": receiver.url, **more})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def asked(client: TestClient, channel: dict[str, Any]) -> str:
    answer = client.post(f"{V1}/channels/{channel['id']}/test")
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def notifier(store: Store, **settings: Any) -> Notifier:
    return Notifier(store, Settings(webhook_hosts=HOSTS, **settings), context=trusting())


def sent(sender: Notifier) -> int:
    """The number of tries until nothing is left to send."""
    tries = 0
    while True:
        begun = sender.begin_due(LAST)
        if not begun:
            return tries
        tries += begun
        sender.wait()


def test_a_message_is_sent_until_it_arrives_with_one_id(served: tuple[TestClient, Service]) -> None:
    client, service_ = served
    with receiving(500, 500) as receiver:
        channel = made(client, receiver)
        message = asked(client, channel)
        sender = notifier(service_.store, public_url="https://bench.example.org/x")
        assert sent(sender) == 3 and sent(sender) == 0
    assert [headers["webhook-id"] for headers, _ in receiver.got] == [message] * 3
    for headers, body in receiver.got:
        said = Webhook(channel["secret"]).verify(body, headers)
        assert said["data"]["notices"][0]["link"] == "https://bench.example.org/x/notifications"
        assert "this machine's user asked for this message" in said["data"]["text"]
    [found] = client.get(f"{V1}/deliveries").json()
    assert (found["id"], found["state"], found["tries"], found["reason"]) == (message, "sent", 3, None)
    assert 'convbench_deliveries{state="sent"} 1.0' in client.get("/metrics").text


def test_a_message_that_never_arrives_is_given_up_shown_and_sent_again(served: tuple[TestClient, Service]) -> None:
    client, service_ = served
    with receiving(*[503] * 6) as receiver:
        message = asked(client, made(client, receiver))
        sender = notifier(service_.store)
        assert sent(sender) == 6
        page = client.get("/notifications").text
        assert "given up" in page and "it answered 503" in page and "6 of 6" in page
        assert client.post(f"{V1}/deliveries/{message}/again").json()["state"] == "waiting"
        assert client.post(f"{V1}/deliveries/{message}/again").status_code == 409
        assert sent(sender) == 1
        assert len(receiver.got) == 7 and {headers["webhook-id"] for headers, _ in receiver.got} == {message}
    with receiving(410) as receiver:
        gone = asked(client, made(client, receiver, "gone"))
        assert sent(sender) == 1
        found = client.get(f"{V1}/deliveries").json()[0]
        assert (found["id"], found["state"], found["tries"]) == (gone, "failed", 1), "nobody is there for ever"


def test_a_clock_that_was_a_year_ahead_delays_no_message_by_a_year(served: tuple[TestClient, Service]) -> None:
    client, service_ = served
    with receiving() as receiver:
        message = asked(client, made(client, receiver))
        me, year = Writer.of_this_process(), timedelta(days=365)
        claimed = Deliveries(service_.store).claim(me, LAST)
        assert claimed is not None
        Deliveries(service_.store).failed(claimed, me, (datetime.now(UTC) + year).isoformat(), "it answered 500")
        sender = notifier(service_.store)
        assert sender.begin_due(datetime.now(UTC).isoformat()) == 1
        sender.wait()
        assert [headers["webhook-id"] for headers, _ in receiver.got] == [message]


def test_a_slow_receiver_delays_no_other_channel(served: tuple[TestClient, Service]) -> None:
    client, service_ = served
    answered = threading.Event()
    with talking(lambda connection: answered.wait(60) and None) as port, receiving() as receiver:
        slow = {"name": "slow", "url": f"https://localhost:{port}/"}
        asked(client, client.post(f"{V1}/channels", json=slow).json())
        asked(client, client.get(f"{V1}/channels").json()[0])
        channel = made(client, receiver)
        ids = [asked(client, channel) for _ in range(3)]
        sender = notifier(service_.store)
        try:
            while len(receiver.got) < len(ids):
                sender.begin_due(LAST)
            assert [headers["webhook-id"] for headers, _ in receiver.got] == ids, "one after another"
            states = [one["state"] for one in client.get(f"{V1}/deliveries").json() if one["channel"] == "slow"]
            assert states == ["waiting", "sending"], "a channel gets one message at a time"
        finally:
            answered.set()
            sender.wait()


def test_two_services_send_each_message_once(served: tuple[TestClient, Service], tmp_path: Path) -> None:
    client, service_ = served
    with receiving() as receiver, Store.create(str(tmp_path / "runs.db")) as second:
        channel = made(client, receiver)
        ids = [asked(client, channel) for _ in range(12)]
        one, other = notifier(service_.store), notifier(second)
        other.owner = replace(other.owner, pid=1)
        with ThreadPoolExecutor(2) as threads:
            tries = list(threads.map(lambda each: sent(each), (one, other)))
        assert sum(tries) == 12
        assert Counter(headers["webhook-id"] for headers, _ in receiver.got) == Counter(ids)


def test_a_message_of_a_killed_service_is_sent_by_the_next_one(served: tuple[TestClient, Service]) -> None:
    client, service_ = served
    with receiving() as receiver:
        message = asked(client, made(client, receiver))
        me = Writer.of_this_process()
        assert Deliveries(service_.store).claim(replace(me, pid=me.pid + 1, started=1.0), LAST) is not None
        sender = notifier(service_.store)
        assert sent(sender) == 0
        sender.watch(datetime.now(UTC))
        assert sent(sender) == 1
        assert [headers["webhook-id"] for headers, _ in receiver.got] == [message]


def test_what_became_of_a_message_is_stored_when_the_database_is_back(
    served: tuple[TestClient, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    from convbench.errors import DatabaseError

    client, service_ = served
    with receiving() as receiver:
        asked(client, made(client, receiver))
        sender = notifier(service_.store)

        def away(*arguments: object) -> bool:
            raise DatabaseError("the database is away")

        with monkeypatch.context() as patched, pytest.raises(DatabaseError):
            patched.setattr(Deliveries, "sent", away)
            sent(sender)
        assert sent(sender) == 0
        assert client.get(f"{V1}/deliveries").json()[0]["state"] == "sent" and len(receiver.got) == 1


def sent_by_a_thread(client: TestClient, service_: Service) -> None:
    """Start what sends, wait until the newest message is sent, and stop it."""
    sender = notifier(service_.store)
    sender.start()
    end = datetime.now(UTC) + timedelta(seconds=60)
    while client.get(f"{V1}/deliveries").json()[0]["state"] != "sent" and datetime.now(UTC) < end:
        sender.wake()
        time.sleep(0.02)
    sender.stop()


def test_the_thread_sends_and_ends(served: tuple[TestClient, Service]) -> None:
    client, service_ = served
    with receiving() as receiver:
        asked(client, made(client, receiver))
        sent_by_a_thread(client, service_)
        assert len(receiver.got) == 1


@pytest.mark.slow
def test_a_chat_gets_its_message_from_a_process_beside_the_service(
    served: tuple[TestClient, Service], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, service_ = served
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    with receiving() as receiver:
        server = receiver.url.removeprefix("https://").partition("/")[0]
        body = {"name": "chat", "service": "apprise", "url": f"gotifys://{server}/{'A' * 15}"}
        asked(client, client.post(f"{V1}/channels", json=body).json())
        sent_by_a_thread(client, service_)
        [(_, said)] = receiver.got
        assert json.loads(said)["title"] == "convbench: a test"


def test_a_host_that_is_not_allowed_gets_nothing(served: tuple[TestClient, Service]) -> None:
    client, service_ = served
    with receiving() as receiver:
        asked(client, made(client, receiver))
        sender = Notifier(service_.store, Settings(), context=trusting())
        assert sent(sender) == 6 and receiver.got == []
    found = client.get(f"{V1}/deliveries").json()[0]
    assert found["state"] == "failed" and "which is not public" in found["reason"]


# ---- who sees and may do what

WRONG = [
    ({"url": "http://example.org/"}, 400),
    ({"url": "https://127.0.0.1/"}, 400),
    ({"url": "https://[::1]/"}, 400),
    ({"url": "https://169.254.169.254/latest"}, 400),
    ({"url": "https://u:s3cret-pw@example.org/"}, 400),
    ({"service": "apprise", "url": "json://localhost/"}, 400),
    ({"service": "apprise", "url": "slack://a/b/c?template=/etc/passwd"}, 400),
    ({"kinds": []}, 422),
    ({"kinds": ["test"]}, 400),
    ({"kinds": ["weather"]}, 422),
    ({"name": " "}, 400),
    ({"name": "x" * 101}, 422),
    ({"more": 1}, 422),
]


def test_a_channel_that_cannot_be_is_a_problem(served: tuple[TestClient, Service]) -> None:
    client, _ = served
    for change, status in WRONG:
        body = {"name": "team", "url": "https://example.org/s3cret-path", **change}
        answer = client.post(f"{V1}/channels", json=body)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), change
        assert "s3cret" not in answer.text and client.get(f"{V1}/channels").json() == []


def test_a_channel_is_changed_and_what_waits_goes_to_its_new_url(
    served: tuple[TestClient, Service], caplog: pytest.LogCaptureFixture
) -> None:
    client, service_ = served
    caplog.set_level(logging.DEBUG)
    with receiving() as before, receiving() as after:
        channel, other = made(client, before), made(client, before, "other")
        message = asked(client, channel)
        path = f"{V1}/channels/{channel['id']}"
        for body, status in (
            ({"name": other["name"]}, 409),
            ({"name": " "}, 400),
            ({"kinds": []}, 422),
            ({"kinds": ["test"]}, 400),
            ({"url": "http://example.org/s3cret"}, 400),
            ({"url": "slack://s3cret/b/c"}, 400),
            ({"url": "https://127.0.0.1/s3cret"}, 400),
            ({"service": "apprise"}, 422),
        ):
            answer = client.patch(path, json=body)
            assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), body
            assert "s3cret" not in answer.text
        known = {name: value for name, value in channel.items() if name != "secret"}
        assert client.get(f"{V1}/channels").json()[1] == client.patch(path, json={}).json() == known
        assert client.patch(f"{V1}/channels/c0", json={}).status_code == 404
        changed = client.patch(path, json={"url": after.url, "name": "all", "kinds": ["silence", "failure"]}).json()
        assert changed == known | {
            "name": "all",
            "kinds": ["failure", "silence"],
            "url": f"{after.url.split('/hook')[0]}/...",
        }
        assert sent(notifier(service_.store)) == 1
        assert before.got == [] and after.got[0][0]["webhook-id"] == message
        headers, body = after.got[0]
        assert Webhook(channel["secret"]).verify(body, headers)
    assert "s3cret" not in client.get(f"{V1}/writes").text + "\n".join(_Lines().format(one) for one in caplog.records)
    assert client.get(f"{V1}/writes").json()[0]["target"] == f"{channel['id']}, all"


def test_secrets_are_shown_once_and_never_again(
    served: tuple[TestClient, Service], caplog: pytest.LogCaptureFixture
) -> None:
    client, service_ = served
    caplog.set_level(logging.DEBUG)
    with receiving(500) as receiver:
        webhook = made(client, receiver)
        chat = client.post(
            f"{V1}/channels", json={"name": "mail", "service": "apprise", "url": "mailtos://u:s3cret-pw@example.org"}
        ).json()
        assert (webhook["url"], chat["url"]) == (f"{receiver.url.split('/hook')[0]}/...", "mailtos://...")
        assert webhook["secret"].startswith("whsec_") and chat["secret"] is None
        assert client.post(f"{V1}/channels", json={"name": "team", "url": receiver.url}).status_code == 409
        asked(client, webhook)
        sent(notifier(service_.store))
        shown = [
            client.get(path).text
            for path in (f"{V1}/channels", f"{V1}/deliveries", f"{V1}/writes", "/notifications", "/tokens", "/metrics")
        ]
        logged = "\n".join(_Lines().format(record) for record in caplog.records)
    for text in (*shown, logged, json.dumps([receiver.got[0][0], receiver.got[0][1].decode()])):
        assert "s3cret" not in text and webhook["secret"] not in text and webhook["secret"][6:] not in text
    assert "a message was tried" in logged
    written = [(one["action"], one["target"]) for one in client.get(f"{V1}/writes").json()]
    assert (f"POST {V1}/channels", f"{webhook['id']}, team") in written
    assert client.delete(f"{V1}/channels/{webhook['id']}").status_code == 204
    assert client.delete(f"{V1}/channels/{webhook['id']}").status_code == 404
    assert client.get(f"{V1}/deliveries").json() == []


def test_only_an_administrator_sees_or_makes_channels(tmp_path: Path) -> None:
    with serving(tmp_path / "runs.db", public_read=True) as (client, service_):
        tokens = {scope: service_.tokens.create(scope.value, [scope], AT, None)[1] for scope in Scope}
        body = {"name": "team", "url": "https://example.org/hook"}
        for scope, token in tokens.items():
            headers = {"Authorization": f"Bearer {token}"}
            codes = [
                client.post(f"{V1}/channels", json=body, headers=headers).status_code,
                client.get(f"{V1}/channels", headers=headers).status_code,
                client.get(f"{V1}/deliveries", headers=headers).status_code,
                client.post(f"{V1}/channels/x/test", headers=headers).status_code,
                client.patch(f"{V1}/channels/x", json={}, headers=headers).status_code,
                client.delete(f"{V1}/channels/x", headers=headers).status_code,
                client.post(f"{V1}/deliveries/x/again", headers=headers).status_code,
            ]
            assert codes == ([201, 200, 200, 404, 404, 404, 404] if scope is Scope.ADMIN else [403] * 7), scope
        assert client.get(f"{V1}/channels").status_code == 401
        page = client.get("/notifications").text
        assert "example.org" not in page and "scope <code>admin</code>" in page


def test_the_page_shows_channels_and_escapes_their_names(served: tuple[TestClient, Service]) -> None:
    client, _ = served
    assert "There is no channel." in client.get("/notifications").text
    with receiving() as receiver:
        channel = made(client, receiver, "<script>x\x07", kinds=["change"])
    page = client.get("/notifications").text
    assert "&lt;script&gt;x\\x07" in page and "<script>x" not in page and 'data-form="channel"' in page
    assert channel["kinds"] == ["change"] and "confirmed changes</td>" in page
    assert [kind.value for kind in CHOSEN_KINDS] == ["change", "failure", "silence"]
    assert list(DeliveryState) == ["waiting", "sending", "sent", "failed"]


def test_the_documentation_has_the_times_and_services_of_the_code() -> None:
    text = " ".join((Path(__file__).parents[2] / "docs" / "service.md").read_text(encoding="utf-8").split())
    pauses = [f"{pause:.0f} s" if pause < 60 else f"{pause / 60:.0f} min" for pause in PAUSES_S[:3]]
    pauses += [f"{pause / 3600:.0f} h" for pause in PAUSES_S[3:]]
    assert f"tried again after {', '.join(pauses[:-1])} and {pauses[-1]}." in text
    assert f"comes within {GATHER_S:.0f} seconds goes to a channel as one message" in text
    assert f"A try takes {TOTAL_S:.0f} s at most" in text
    hours = [limit.total_seconds() / 3600 for limit in (SHORTEST, LONGEST)]
    assert f"not before {hours[0]:.0f} hour and not later than {hours[1]:.0f} hours" in text
    assert f"with the {'five' if NAMED == 5 else NAMED} largest cases" in text
