"""Twenty kinds of values that programs cache: what APIs answer, rows, sessions, embeddings, and what breaks codecs."""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal
from typing import Any
from uuid import UUID

_UTC = dt.timezone.utc
_WORDS = "the quick brown fox jumps over a lazy dog while seven wizards box".split()
_START = dt.datetime(2024, 5, 17, 8, 30, 15, 250_000)


def kinds() -> dict[str, Any]:
    """The values by name. Each call returns equal ones."""
    rng = random.Random(20)
    rows = [_order(rng, number) for number in range(20)]
    return {
        "small object": {"id": 10_001, "name": "user-00001", "score": 1 / 7, "active": True, "group": "staff"},
        "counter": 8_675_309,
        "short string": "Grüße aus Zürich",
        "rendered page, 8 KB": " ".join(rng.choices(_WORDS, k=1_600)),
        "thumbnail, 4 KB": rng.randbytes(4_096),
        "API answer": _answer(rng, 3),
        "API answer, 100 items": _answer(rng, 100),
        "row as strings": {key: str(value) for key, value in rows[0].items()},
        "row with dates and decimals": rows[0],
        "20 rows": rows,
        "cursor's rows": [tuple(row.values()) for row in rows],
        "session": _session(rng),
        "permissions": {"roles": {"editor", "staff"}, "scopes": frozenset(rng.sample(range(1_000), 40))},
        "embedding, 384 floats": [rng.gauss(0, 0.05) for _ in range(384)],
        "ids": [rng.randrange(1 << 40) for _ in range(200)],
        "function's answer": (rows[0]["id"], 0.75, ("ok", None)),
        "distances": {(rng.choice(_WORDS), rng.choice(_WORDS)): rng.randrange(900) for _ in range(20)},
        "time series": [(_START + dt.timedelta(minutes=n), rng.random()) for n in range(60)],
        "feature flags": {f"feature_{n:02d}": bool(rng.getrandbits(1)) for n in range(60)},
        "public key": {"modulus": rng.getrandbits(2_048), "exponent": 65_537, "issued": _START.date()},
    }


def _order(rng: random.Random, number: int) -> dict[str, Any]:
    return {
        "id": UUID(int=rng.getrandbits(128)),
        "number": number,
        "customer": f"{rng.choice(_WORDS)} {rng.choice(_WORDS)}",
        "placed": _START + dt.timedelta(seconds=rng.randrange(10**7)),
        "due": _START.date() + dt.timedelta(days=rng.randrange(90)),
        "total": Decimal(rng.randrange(10**6)) / 100,
        "size": (rng.randrange(100), rng.randrange(100)),
        "paid": bool(rng.getrandbits(1)),
    }


def _answer(rng: random.Random, count: int) -> dict[str, Any]:
    """What a JSON API answers: text, numbers, lists and None alone."""
    items = [
        {
            "id": rng.randrange(10**9),
            "title": " ".join(rng.choices(_WORDS, k=5)),
            "price": round(rng.random() * 100, 2),
            "tags": rng.sample(_WORDS, 3),
            "author": {"login": rng.choice(_WORDS), "admin": False, "avatar": None},
            "created_at": "2024-05-17T08:30:15Z",
        }
        for _ in range(count)
    ]
    return {"total": count, "page": 1, "next": None, "items": items}


def _session(rng: random.Random) -> dict[str, Any]:
    return {
        "user": UUID(int=rng.getrandbits(128)),
        "csrf": rng.randbytes(16).hex(),
        "signed_in": _START.replace(tzinfo=_UTC),
        "idle": dt.timedelta(minutes=30),
        "basket": [{"sku": f"A-{n}", "count": n + 1, "price": Decimal("9.90")} for n in range(3)],
        "flashes": [],
        "locale": "de_CH",
    }
