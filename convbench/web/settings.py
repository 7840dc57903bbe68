"""How a service was started. Frozen data."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

#: The host and port of a service unless its user says otherwise.
HOST, PORT = "127.0.0.1", 8321


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a service was started.

    `db` is the database as for other verbs. `root_path` is where a proxy serves it, `/bench`, and "" without one.
    `public_read` lets everybody read; `trust_modules` lets everybody with the scope `submit` run code here.
    `checkouts` are folders in checkouts of git by name, whose commits bisections measure. By the same names, `builds`
    are commands that run in each commit's files first, and `pythons` interpreters that these make.
    `ray` is the address of a cluster that jobs may use; with `insecure_ray` also of one that asks for no token.
    The service deletes the runs beyond the newest `keep` that began more than `older` ago; none where both are None.
    Links in notifications begin with `public_url`, where it is given. Messages may go to hosts in `webhook_hosts`
    although their addresses are not public.
    """

    db: str | None = None
    host: str = HOST
    port: int = PORT
    root_path: str = ""
    public_read: bool = False
    trust_modules: bool = False
    measures: bool = True
    checkouts: tuple[tuple[str, Path], ...] = ()
    builds: tuple[tuple[str, str], ...] = ()
    pythons: tuple[tuple[str, str], ...] = ()
    ray: str | None = None
    insecure_ray: bool = False
    keep: int | None = None
    older: timedelta | None = None
    public_url: str | None = None
    webhook_hosts: tuple[str, ...] = ()

    @property
    def deletes(self) -> bool:
        """Whether it deletes old runs."""
        return self.keep is not None or self.older is not None

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
