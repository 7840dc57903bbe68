"""What the page's scripts are given, read back as Python would, by the format of report/pages/payload.py."""

from __future__ import annotations

import base64
import gzip
import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Payload:
    """A payload's head and the bytes of its arrays."""

    head: dict[str, Any]
    body: bytes

    def array(self, told: dict[str, Any]) -> np.ndarray:
        return np.frombuffer(self.body, dtype=told["type"], count=told["length"], offset=told["start"])

    def column(self, name: str) -> list[Any]:
        """The values of a column of cases, None where absent."""
        told = self.head["cases"][name]
        if "array" in told:
            return [None if np.isnan(value) else float(value) for value in self.array(told["array"])]
        if "codes" not in told:
            return told["values"] * self.head["length"]
        return [told["values"][code] if code >= 0 else None for code in self.array(told["codes"])]


def payload(html: str, element: str) -> Payload:
    """The payload in the element of this id."""
    found = re.search(f'id="{element}">([^<]*)</script>', html)
    assert found is not None
    whole = gzip.decompress(base64.b64decode(found[1]))
    size = int.from_bytes(whole[:4], "little")
    return Payload(head=json.loads(whole[4 : 4 + size]), body=whole[4 + size :])
