"""A feed of changes in the format Atom (RFC 4287): confirmed verdicts and acceptances. Pure: entries to bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

#: Characters that XML 1.0 has no way to write.
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ATOM = "http://www.w3.org/2005/Atom"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Something that changed. `id` never changes and is unique; `at` is ISO 8601 with its zone; `link` is absolute."""

    id: str
    at: str
    title: str
    text: str
    link: str
    author: str


def atom(entries: Sequence[Entry], *, feed_id: str, title: str, link: str, updated: str) -> bytes:
    """The feed with these entries, the newest first; `updated` is its time where it has none."""
    ElementTree.register_namespace("", _ATOM)
    feed = ElementTree.Element(f"{{{_ATOM}}}feed")
    _add(feed, "id", feed_id)
    _add(feed, "title", title)
    _add(feed, "updated", max((entry.at for entry in entries), default=updated))
    _link(feed, link, "self")
    for entry in entries:
        node = ElementTree.SubElement(feed, f"{{{_ATOM}}}entry")
        _add(node, "id", entry.id)
        _add(node, "title", entry.title)
        _add(node, "updated", entry.at)
        _link(node, entry.link, "alternate")
        _add(ElementTree.SubElement(node, f"{{{_ATOM}}}author"), "name", entry.author)
        _add(node, "content", entry.text).set("type", "text")
    made: bytes = ElementTree.tostring(feed, encoding="utf-8", xml_declaration=True)
    return made + b"\n"


def _add(parent: ElementTree.Element, name: str, text: str) -> ElementTree.Element:
    node = ElementTree.SubElement(parent, f"{{{_ATOM}}}{name}")
    node.text = _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
    return node


def _link(parent: ElementTree.Element, to: str, relation: str) -> None:
    ElementTree.SubElement(parent, f"{{{_ATOM}}}link", {"rel": relation, "href": _NOT_XML.sub("", to)})
