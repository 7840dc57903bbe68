"""The JavaScript libraries in a page: plotly.js and DataTables, gzipped in base64, and their hashes. Pure.

Gzip reduces them from 4.8 MB to 2.0 MB. static/load.js runs them.
"""

from __future__ import annotations

import base64
import gzip
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

from markupsafe import Markup

from convbench.errors import ConvbenchError
from convbench.report.pages.policy import script_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A library in the page: its text gzipped in base64, and the hash that allows the text to run."""

    name: str
    text: Markup
    hash: str


@cache
def plotly() -> Packed:
    """plotly.js, a classic script that defines the global `Plotly`."""
    return _pack("plotly", (resources.files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8"))


@cache
def datatables() -> Packed:
    """The installed itables' bundle, an ES module, as a classic script that defines the global `DataTable`."""
    text = _itables("dt_bundle.js")
    exports = re.search(r"export\{([^}]*)\};?", text)
    default = re.search(r"([\w$]+) as default", exports[1]) if exports else None
    if exports is None or default is None:
        raise ConvbenchError(
            "the installed itables bundles DataTables in an unknown way", hint="pip install itables==2.9.1"
        )
    body = text[: exports.start()] + f"globalThis.DataTable={default[1]};" + text[exports.end() :]
    return _pack("datatables", "(() => {\n" + body + "\n})();\n")


@cache
def datatables_style() -> Packed:
    """DataTables' style sheet."""
    return _pack("datatables-style", _itables("dt_bundle.css"))


def _pack(name: str, text: str) -> Packed:
    packed = base64.b64encode(gzip.compress(text.encode(), compresslevel=9, mtime=0)).decode()
    return Packed(name=name, text=Markup(packed), hash=script_hash(text))  # base64


def _itables(name: str) -> str:
    return (resources.files("itables") / "html" / name).read_text(encoding="utf-8")
