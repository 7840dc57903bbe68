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


async def answer(scope, receive, send) -> None:  # type: ignore[no-untyped-def]  # ASGI
    """An answer that takes longer than a connection may be without a request."""
    import asyncio

    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"o", "more_body": True})
    await asyncio.sleep(3 * connections.HEAD_S if scope["path"] == "/slow" else 0)
    await send({"type": "http.response.body", "body": b"k"})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(connections, "HEAD_S", 0.2)
    server = uvicorn.Server(uvicorn.Config(answer, port=0, log_config=None, lifespan="off", http=Connection))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize("begun", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nA: "])
def test_a_client_that_sends_no_whole_head_is_left(port: int, begun: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(begun)
        assert client.recv(100) == b"", "it is closed"


def test_a_slow_answer_is_whole_and_the_connection_serves_another_request(port: int) -> None:
    client = HTTPConnection("127.0.0.1", port, timeout=30)
    for path in ("/", "/slow", "/", "/slow"):
        client.request("GET", path)
        assert client.getresponse().read() == b"ok"
    assert client.sock.recv(100) == b"", "then it is closed"
    client.close()
