"""What a campaign's layers cost: images for a dollar, from the price of an hour of each machine. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from convbench.analysis.campaign.members import Member
from convbench.errors import RequestError
from convbench.model.nearest import did_you_mean
from convbench.model.values import Number

#: Seconds of the hour that prices are for.
HOUR_S = 3600.0
#: The most that an hour may cost.
_PRICE = Number(above=True, high=1e6)


def parsed_prices(texts: Sequence[str]) -> dict[str, float]:
    """Prices of an hour by host or machine key, from texts like `host=1.20`; RequestError where one is no price."""
    found: dict[str, float] = {}
    for text in texts:
        name, equals, number = text.rpartition("=")
        try:
            price = float(number)
        except ValueError:
            price = math.nan
        if not (equals and name.strip() and _PRICE.holds(price)):
            raise RequestError(
                f"--price {text!r}: expected a host or a machine key, =, and the price of an hour above 0",
                hint="like --price build-3=1.20; `convbench machines` lists hosts and keys",
            )
        if name.strip() in found:
            raise RequestError(f"--price: {name.strip()} is given twice", hint="give each host or machine key once")
        found[name.strip()] = price
    return found


def prices_of(members: Sequence[Member], prices: Mapping[str, float]) -> tuple[float, ...]:
    """The price of an hour of each member, NaN where none is given.

    A price is for a host, for the id of a machine key, or for a member's name. A host's own price comes first. Of a
    member whose cases several hosts measured, all hosts must have one price. Raises RequestError otherwise, and for a
    name that no member has.
    """
    known = [name for member in members for name in (*member.hosts, member.key.id, member.name)]
    for name in prices:
        if name not in known:
            hint = did_you_mean(name, known) or f"known are {', '.join(dict.fromkeys(known))}"
            raise RequestError(f"--price: no host or machine of this campaign is called {name!r}", hint=hint)
    return tuple(_price(member, prices) for member in members)


def _price(member: Member, prices: Mapping[str, float]) -> float:
    of_key = prices.get(member.key.id, prices.get(member.name, math.nan))
    found = [prices.get(host, of_key) for host in member.hosts] or [of_key]
    if len({price for price in found if price == price}) > 1 or len({price == price for price in found}) > 1:
        raise RequestError(
            f"--price: the hosts {', '.join(member.hosts)} shared the cases of {member.name}, at different prices",
            hint=f"give one price for all: --price {member.key.id}=...",
        )
    return found[0]


def images_per_dollar(images: float, seconds: float, price: float) -> float:
    """How many images a dollar pays for, at `images` in `seconds` and this price of an hour in dollars; NaN unknown."""
    return images / seconds * HOUR_S / price if seconds > 0 and price > 0 else math.nan
