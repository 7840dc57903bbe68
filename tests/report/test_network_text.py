"""What `run` prints about a network: its settings and what to fix first, in tables that fit a terminal."""

from __future__ import annotations

from networks import network

from convbench.analysis.findings.findings import examined
from convbench.report.text.network import network_text

SETTINGS = """\
{}  against usual  settings
{}  usual          contiguous for all layers
{}  2.00x faster   channels_last for all layers"""


def test_each_part_has_a_table_of_settings_and_the_layers_to_fix_come_last() -> None:
    [found] = examined(network()).answers
    forward, step, fixes = network_text(found).split("\n\n")
    assert forward == SETTINGS.format("forward", "8.00 ms", "4.00 ms")
    assert step == SETTINGS.format("training step", "      20.0 ms", "      10.0 ms")
    heads, *rows = fixes.splitlines()
    assert heads.endswith("  worth fixing first in one training step with channels_last")
    first, second = found.fixes[-1]
    assert rows[0].split() == ["2", "5.00", "ms", "4.92", "ms", "(49", "%)", "a.0"]
    assert (first.layer.name, second.layer.name) == ("a.0", "b.0") and first.saved_s > second.saved_s
    assert rows[1].endswith("  b.0")


def test_no_line_is_longer_than_the_terminal() -> None:
    [found] = examined(network()).answers
    lines = network_text(found, 60).splitlines()
    assert max(map(len, lines)) <= 60 and lines[0].split() == ["forward", "against", "usual", "settings"]
