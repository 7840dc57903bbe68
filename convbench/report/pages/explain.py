"""The interactive page that explains one layer, with the text of explain.py for readers without scripts. Pure."""

from __future__ import annotations

from dataclasses import asdict

from markupsafe import Markup

from convbench.model.case import Case
from convbench.report.pages import scripts
from convbench.report.pages.policy import json_text, policy, script_hash
from convbench.report.pages.rendering import render as render_page
from convbench.report.text.explain import explain
from convbench.version import __version__

_ENTRY = "explain_main.js"


def file_name(case: Case) -> str:
    """`explain-<case id>.html`."""
    return f"explain-{case.id}.html"


def render(case: Case) -> str:
    """The page as HTML text, encodable as UTF-8. A layer that torch refuses has a page too."""
    script = Markup(scripts.joined(_ENTRY))
    execution = {
        "direction": case.direction.value,
        "dtype": case.dtype,
        "autocast": case.autocast.value,
        "memory_format": case.memory_format.value,
        "input_format": case.input_format.value,
    }
    return render_page(
        "explain.html.j2",
        version=__version__,
        explanation=explain(case),
        policy=policy([script_hash(str(script))]),
        style=Markup(scripts.static("report.css") + scripts.static("explainer.css")),
        script=script,
        data=json_text({"problem": asdict(case.problem), "execution": execution}),
    )
