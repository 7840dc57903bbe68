"""Connections without a request are closed; those with one, or with a stream, are not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest
import uvicorn

from convbench.web import connections
from convbench.web.connections import Connection


class Served(uvicorn.Server):
    """A server whose connections can be looked at when a test says so, however busy the machine is."""

    def __init__(self) -> None:
        super().__init__(
            uvicorn.Config(self.answer, port=0, log_config=None, lifespan="off", http=Connection, interface="asgi3")
        )

    def look(self) -> None:
        """What happens each HEAD_S seconds."""
        for connection in list(self.server_state.connections):
            connection._look()

    async def answer(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]  # ASGI
        """An answer during which /slow is looked at several times, and any other path once afterwards."""
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"o", "more_body": True})
        for _ in range(3 if scope["path"] == "/slow" else 0):
            self.look()
        await send({"type": "http.response.body", "body": b"k"})
        if scope["path"] != "/slow":
            self.look()

    @property
    def port(self) -> int:
        return int(self.servers[0].sockets[0].getsockname()[1])


@pytest.fixture
def served() -> Iterator[Served]:
    server = Served()
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    yield server
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize("begun", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nA: "])
def test_a_client_that_sends_no_whole_head_is_left(
    served: Served, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.2)
    with socket.create_connection(("127.0.0.1", served.port), timeout=90) as client:
        client.sendall(begun)
        assert client.recv(100) == b"", "it is closed"


def test_a_slow_answer_is_whole_and_the_connection_serves_another_request(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 3600)
    client = HTTPConnection("127.0.0.1", served.port, timeout=90)
    for path in ("/", "/slow", "/", "/slow"):
        client.request("GET", path)
        assert client.getresponse().read() == b"ok"
    monkeypatch.setattr(connections, "HEAD_S", 0.2)
    client.request("GET", "/")
    assert client.getresponse().read() == b"ok"
    assert client.sock.recv(100) == b"", "then it is closed"
    client.close()
