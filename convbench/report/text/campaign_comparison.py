"""What `convbench compare` prints of two campaigns: each machine's comparison, and the verdicts of all. Pure."""

from __future__ import annotations

from convbench import units
from convbench.analysis.campaign.comparing import CampaignComparison, MachineComparison
from convbench.report.text.compare import compare_text
from convbench.report.text.markdown import escaped
from convbench.report.text.summary import MOST, comparison_summary
from convbench.report.text.tables import folded

NOT_COMPARABLE = "not comparable"
#: Characters kept free for the text after the machines.
_CLOSING = 100


def campaigns_text(found: CampaignComparison, columns: int | None = None) -> str:
    """The comparison of each machine below its name, then the machines of one side, then a verdict a machine.

    No line is longer than `columns`.
    """
    parts = [
        f"{folded(f'on {units.flat(one.name)}:', columns)}\n{compare_text(one.compared.comparison, columns)}"
        for one in found.machines
        if one.compared is not None
    ]
    closing = [*_alone(found), *(f"{units.flat(one.name)}: {_verdict(one)}" for one in found.machines)]
    return "\n\n".join([*parts, folded("\n".join(closing), columns)])


def _alone(found: CampaignComparison) -> list[str]:
    """`only in BASE: AMD EPYC 7B13`: the machines that one campaign has alone."""
    sides = ((found.only_base, "BASE"), (found.only_new, "NEW"))
    return [f"only in {side}: {', '.join(map(units.flat, names))}" for names, side in sides if names]


def _verdict(one: MachineComparison) -> str:
    if one.compared is None:
        return f"{NOT_COMPARABLE}: {units.flat(one.refusal)}"
    return str(one.compared.comparison.verdict)


def campaign_summary(found: CampaignComparison, *, most: int = MOST) -> str:
    """A verdict a machine, then the summary of each machine's comparison in Markdown, below the machine's name.

    At most `most` characters: machines whose summaries do not fit are counted.
    """
    lines = [f"- {escaped(one.name)}: {escaped(_verdict(one))}" for one in found.machines]
    text = "\n".join([*lines, *(f"- {escaped(line)}" for line in _alone(found)), ""])[: most - _CLOSING]
    left = 0
    for one in found.machines:
        if one.compared is None:
            continue
        part = f"\n## {escaped(one.name)}\n\n{comparison_summary(one.compared.comparison, most=most)}"
        if len(text) + len(part) > most - _CLOSING:
            left += 1
        else:
            text += part
    return f"{text}\n{units.plural(left, 'machine')} left out here for lack of room\n" if left else text
