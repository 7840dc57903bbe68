"""A badge for a README: two words as a small picture (SVG), which needs no font file and no script. Pure."""

from __future__ import annotations

from markupsafe import escape

from convbench.report.pages.rendering import shortened

#: Pixels of a character in a font of 11 pixels, on average, and of the space beside a text.
_CHARACTER, _SPACE = 6.6, 10
#: The most characters of a text.
_MOST = 40
#: The background of a verdict; white text on it has a contrast of 4.5 at least (WCAG 2.2, 1.4.3).
_COLOURS = {
    "regressed": "#b3261e",
    "improved": "#1a7f37",
    "unchanged": "#1a7f37",
    "accepted": "#1a7f37",
}
_LABEL, _OTHER = "#444444", "#5f6368"


def badge(label: str, verdict: str) -> str:
    """The badge that says of `label` its verdict, as SVG; longer texts than 40 characters are cut."""
    left, right = shortened(label, _MOST), shortened(verdict, _MOST)
    first, second = (round(len(text) * _CHARACTER + 2 * _SPACE) for text in (left, right))
    whole = f"{left}: {right}"
    texts = "".join(
        f'<text x="{middle:g}" y="14" text-anchor="middle" textLength="{width - 2 * _SPACE}">{escape(text)}</text>'
        for text, middle, width in ((left, first / 2, first), (right, first + second / 2, second))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{first + second}" height="20" role="img"'
        f' aria-label="{escape(whole)}"><title>{escape(whole)}</title>'
        f'<rect width="{first}" height="20" fill="{_LABEL}"/>'
        f'<rect x="{first}" width="{second}" height="20" fill="{_COLOURS.get(verdict, _OTHER)}"/>'
        f'<g fill="#ffffff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">{texts}</g></svg>\n'
    )
