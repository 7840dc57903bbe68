"""The POST of a webhook: signed as the standard has it, only to where it may go, and never for long."""

from __future__ import annotations

import json
import socket
import ssl
import time
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

import pytest
from receiver import AUTHORITY, receiving, talking, trusting
from standardwebhooks import Webhook, WebhookVerificationError

from convbench.actions.notices import _new_secret
from convbench.errors import RequestError
from convbench.web import addresses, chat, webhook
from convbench.web.webhook import Outcome

SECRET = _new_secret()
BODY = json.dumps({"type": "convbench.notices", "data": {"title": "ä"}}).encode()
PUBLIC = "93.184.215.14"


def posted(url: str, *, allowed: tuple[str, ...] = ("localhost",)) -> Outcome:
    return webhook.post(url, SECRET, "msg_1", BODY, allowed=allowed, context=trusting())


def test_a_message_is_signed_as_another_implementation_has_it() -> None:
    with receiving() as receiver:
        assert posted(receiver.url) == Outcome(arrived=True)
        [(headers, body)] = receiver.got
    assert Webhook(SECRET).verify(body, headers) == json.loads(BODY)
    assert (headers["webhook-id"], headers["content-type"]) == ("msg_1", "application/json")
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 100
    for change in ({"webhook-id": "msg_2"}, {"webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}):
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(body, {**headers, **change})
    with pytest.raises(WebhookVerificationError):
        Webhook(_new_secret()).verify(body, headers)


def test_a_known_signature() -> None:
    """The example of the standard's own documentation."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert webhook.sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}') == signature


@pytest.mark.parametrize(
    ("status", "reason", "is_final"),
    [
        (500, "it answered 500 Internal Server Error", False),
        (404, "it answered 404 Not Found", False),
        (410, "it answered 410 Gone", True),
        (599, "it answered 599", False),
    ],
)
def test_another_status_is_a_failed_try(status: int, reason: str, is_final: bool) -> None:
    with receiving(status) as receiver:
        assert posted(receiver.url) == Outcome(arrived=False, reason=reason, is_final=is_final)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    with receiving() as inner, receiving(status, headers={"location": inner.url}) as outer:
        found = posted(outer.url)
        assert not found.arrived and "redirects are not followed" in found.reason
        assert inner.got == [] and len(outer.got) == 1


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        *("100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "224.0.1.1", "240.0.0.1", "255.255.255.255"),
        *("::1", "::", "fe80::1", "fc00::1", "fec0::1", "ff02::1", "ff0e::1", "2001:db8::1", "::ffff:127.0.0.1"),
        *("64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
    ],
)
def test_a_private_address_is_refused(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    literal = f"[{host}]" if ":" in host else host
    monkeypatch.setattr(socket, "create_connection", lambda *_: pytest.fail("it connects"))
    with pytest.raises(addresses.UnreachableError, match="not public"):
        posted(f"https://{literal}/", allowed=())
    with pytest.raises(addresses.UnreachableError):
        addresses.check_literal(addresses.target(f"https://{literal}/").host, ())
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer(PUBLIC, host))
    with pytest.raises(addresses.UnreachableError, match="not public"):
        posted("https://half.example.org/", allowed=("localhost",))


@pytest.mark.parametrize("address", [PUBLIC, "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::5db8:d70e"])
def test_a_public_address_is_right(address: str) -> None:
    assert addresses.is_public(ip_address(address))


def answer(*hosts: str) -> list[tuple[Any, ...]]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 443)) for host in hosts]


def test_it_connects_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads to another address when it is asked again leads nowhere."""
    asked, connected = [], []

    def resolve(host: str, *_: object, **__: object) -> list[tuple[Any, ...]]:
        asked.append(host)
        return answer(PUBLIC if len(asked) == 1 else "127.0.0.1")

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        connected.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    assert posted("https://rebinding.example.org/x").reason == "no connection: Connection refused"
    assert (asked, connected) == (["rebinding.example.org"], [(PUBLIC, 443)])


def test_a_host_that_is_allowed_is_allowed_by_its_exact_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer("10.0.0.5"))
    assert addresses.addresses("Chat.internal", 443, ["chat.INTERNAL"]) == ["10.0.0.5"]
    for host in ("x.chat.internal", "chat.internal.example.org"):
        with pytest.raises(addresses.UnreachableError) as caught:
            addresses.addresses(host, 443, ["chat.internal"])
        assert caught.value.hint == f"start the service with --allow-webhook-host {host} to allow it"


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.org/", "ftp://example.org/", "https://", "https:///x", "//example.org", "x", ""),
        *(
            "https://user:pw@example.org/",
            "https://user@example.org/",
            "https://example.org/#x",
            "https://example.org:x/",
        ),
        *(
            "https://example.org/ x",
            "https://example.org/\r\nX: y",
            "https://exämple.org/",
            "https://example.org:99999/",
        ),
        *("https://[::1/", "https://" + "x" * 300 + ".org/", "https://example.org/" + "x" * 2000),
    ],
)
def test_other_urls_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(RequestError) as caught:
        addresses.target(url)
    assert url == "" or len(url) < 3 or url not in caught.value.message


def test_a_certificate_of_another_name_or_of_nobody_is_refused() -> None:
    with receiving() as receiver:
        found = webhook.post(receiver.url, SECRET, "msg_1", BODY, allowed=("localhost",))
        assert "its certificate is not valid" in found.reason
        port = receiver.url.split(":")[2].split("/")[0]
        found = posted(f"https://127.0.0.2:{port}/", allowed=("127.0.0.2",))
        assert not found.arrived and receiver.got == []


def test_a_receiver_that_never_ends_its_answer_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "TOTAL_S", 0.3)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("localhost").configure_cert(context)

    def drip(connection: socket.socket) -> None:
        with suppress(OSError), context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(65536)
            for _ in range(1000):
                secure.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                time.sleep(0.01)

    for talk in (drip, lambda connection: time.sleep(1)):  # the second one says nothing at all
        with talking(talk) as port:
            assert posted(f"https://localhost:{port}/").reason == "it did not answer in time"


def test_what_is_no_http_is_a_failed_try() -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"220 mail.example.org\r\n")

    with talking(talk) as port:
        assert posted(f"https://localhost:{port}/").reason.startswith("no encrypted connection")


# ---- mail and chat

#: apprise asks Python 3.11 to 3.12 for a module that 3.13 has no more.
IMGHDR = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


@pytest.mark.parametrize(
    "url",
    [
        *("json://example.org", "jsons://127.0.0.1", "syslog://", "dbus://", "windows://", "file:///etc/passwd", "x"),
        *("slack://a/b/c?template=/etc/passwd", "mailtos://u:p@example.org?pgp=yes", "gotify://127.0.0.1/token"),
        *("slack://a/b/c?Verify=no", "slack://a/b/c?rto=9999", "https://hooks.slack.com/services/a/b/c"),
    ],
)
def test_apprise_urls_that_reach_this_machine_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(RequestError) as caught:
        chat.check(url)
    assert "passwd" not in caught.value.message and "a/b/c" not in caught.value.message


def test_without_the_extra_one_line_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RequestError) as caught:
        chat.check("slack://a/b/c")
    assert caught.value.hint == "pip install 'convbench[notify]'" and "\n" not in caught.value.message


@IMGHDR
def test_a_message_goes_to_a_chat_without_its_mentions(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    token = "A" * 15
    with receiving(200, 401, 302, headers={"location": "https://localhost:1/"}) as receiver:
        url = f"gotifys://localhost:{receiver.url.split(':')[2].split('/')[0]}/{token}"
        assert chat.send(url, "a title", "layer @all <!channel>", ["localhost"]) == Outcome(arrived=True)
        [(_, body)] = receiver.got
        said = json.loads(body)
        assert said["title"] == "a title" and "@all" not in said["message"] and "<!" not in said["message"]
        for _ in range(2):
            found = chat.send(url, "a title", "text", ["localhost"])
            assert found == Outcome(arrived=False, reason="gotifys did not take it")
        assert len(receiver.got) == 3
        with pytest.raises(addresses.UnreachableError):
            chat.send(url, "a title", "text", [])
        assert len(receiver.got) == 3


@IMGHDR
def test_a_url_that_apprise_does_not_understand_is_given_up() -> None:
    assert chat.send("slack://", "a title", "text", []).is_final
