"""Rows as database drivers return them, and their elements: customers of 263 bytes, events of 368 bytes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from airflow_provider_moengage.bulk.mapping import CustomerMapping, EventMapping

Row = tuple[Any, ...]
Element = dict[str, Any]

USERS = 50_000
"""Number of different users; their rows repeat after that many."""

_CITIES = ("Zürich", "São Paulo", "München", "पुणे", "Reykjavík", "Boston", "Lyon", "東京")
_TIERS = ("gold", "silver", "bronze")
_PRODUCTS = (
    "Crème brûlée, 4 à 100 g",
    "Olive oil, cold pressed",
    "Rye bread",
    "Jalapeño salsa",
    "Green tea 緑茶",
)
_START = dt.datetime(2026, 1, 1, 8, 30, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Kind:
    """One kind of rows and their elements."""

    name: str
    columns: tuple[str, ...]
    mapping: CustomerMapping | EventMapping
    row: Callable[[int], Row]
    """Returns row number n with a driver's types: Decimal, datetime with and without time zone, UUID, None, ..."""
    element: Callable[[Row], Element]
    """Returns the dict that a hand-written loop would build from a row, with unconverted values."""

    def rows(self, count: int) -> list[Row]:
        """Return the first rows."""
        return [self.row(number) for number in range(count)]


def _customer_row(n: int) -> Row:
    moment = _START + dt.timedelta(seconds=37 * n % 20_000_000)
    return (
        f"user-{n % USERS}",
        f"u{n}@ex.org",
        _CITIES[n % len(_CITIES)],
        _TIERS[n % len(_TIERS)],
        Decimal(n % 100_000) / 100,
        moment,
        (moment - dt.timedelta(days=400)).replace(tzinfo=None),
        n % 31,
        n % 97 / 8,
        n % 3 == 0,
        UUID(int=n * 2**96 + n) if n % 4 else None,
        None,
    )


def _customer(row: Row) -> Element:
    user_id, email, city, tier, total, last, first, orders, score, is_active, card, _ = row
    attributes = {
        "u_em": email,
        "city": city,
        "tier": tier,
        "spent": total,
        "last": last,
        "since": first,
        "orders": orders,
        "fit": score,
        "vip": is_active,
    }
    if card is not None:
        attributes["card"] = card
    return {"type": "customer", "customer_id": user_id, "attributes": attributes}


def _event_row(n: int) -> Row:
    moment = _START + dt.timedelta(seconds=37 * n % 20_000_000)
    return (
        f"user-{n * 7 % USERS}",
        moment,
        UUID(int=n * 2**96 + n),
        _PRODUCTS[n % len(_PRODUCTS)],
        Decimal(n % 20_000) / 100,
        n % 7 + 1,
        n % 50 / 4,
        n % 5 == 0,
        (moment + dt.timedelta(days=2)).replace(tzinfo=None),
        None if n % 4 else "NEW",
        _CITIES[n % len(_CITIES)],
    )


def _event(row: Row) -> Element:
    user_id, moment, order, product, price, quantity, discount, is_gift, delivery, coupon, city = row
    attributes = {
        "order_id": order,
        "product": product,
        "price": price,
        "quantity": quantity,
        "discount_pct": discount,
        "is_gift": is_gift,
        "delivery_expected_at": delivery,
    }
    if coupon is not None:
        attributes["coupon"] = coupon
    attributes["delivery_city"] = city
    action = {"action": "Purchase", "current_time": moment, "platform": "web", "attributes": attributes}
    return {"type": "event", "customer_id": user_id, "actions": [action]}


CUSTOMERS = Kind(
    "customers",
    (
        *("user_id", "email", "city", "tier", "spent", "last", "since", "orders", "fit", "vip", "card"),
        "referrer",
    ),
    CustomerMapping(
        attributes={
            "u_em": "email",
            **{name: name for name in ("city", "tier", "spent", "last", "since", "orders", "fit")},
            **{name: name for name in ("vip", "card", "referrer")},
        }
    ),
    _customer_row,
    _customer,
)

EVENTS = Kind(
    "events",
    (
        *("user_id", "at", "order_id", "product", "price", "quantity", "discount_pct", "is_gift"),
        *("delivery_expected_at", "coupon", "delivery_city"),
    ),
    EventMapping(action="Purchase", time="at", platform="web"),
    _event_row,
    _event,
)

KINDS: Sequence[Kind] = (CUSTOMERS, EVENTS)
