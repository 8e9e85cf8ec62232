"""Stripe's side of the wire, written from its documents: forms, errors, lists, signatures. Knows nothing of wire.py.

Sources: https://docs.stripe.com/api/errors, https://docs.stripe.com/api/pagination,
https://docs.stripe.com/webhooks#verify-manually, https://docs.stripe.com/search#search-query-language
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

Params = dict[str, Any]
Object = dict[str, Any]

TWO_DECIMALS_ALWAYS_00: Final = ("ISK", "UGX")
THREE_DECIMALS: Final = ("BHD", "JOD", "KWD", "OMR", "TND")
NO_DECIMALS: Final = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF"
"""https://docs.stripe.com/currencies, written down a second time: an error in the adapter's table must show."""


class Refused(Exception):
    """An error answer. Nothing was done, so that no idempotency key keeps it, unless ``tried``."""

    tried = False

    def __init__(self, status: int, message: str, **fields: str) -> None:
        super().__init__(message)
        self.status = status
        self.body: Object = {"error": {"type": "invalid_request_error", "message": message, **fields}}


class Declined(Refused):
    """A payment was tried and refused: the answer is kept under its key like a good one."""

    tried = True

    def __init__(self, error: Object, intent: Object) -> None:
        super().__init__(402, error["message"])
        self.body = {"error": {**error, "payment_intent": intent}}


def bad_param(param: str, message: str, **fields: str) -> Refused:
    return Refused(400, message, param=param, **fields)


def missing(kind: str, object_id: str, param: str = "id") -> Refused:
    return Refused(404, f"No such {kind}: '{object_id}'", code="resource_missing", param=param)


def new_id(prefix: str, length: int = 24) -> str:
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    return prefix + "".join(secrets.choice(alphabet) for _ in range(length))


def parse_form(pairs: Iterable[tuple[str, str]]) -> Params:
    """Read ``a[b][0][c]=d`` into nested dicts and lists (lists where all keys are numbers or empty)."""
    root: dict[str, Any] = {}
    for name, value in pairs:
        keys = [name.partition("[")[0], *re.findall(r"\[([^\]]*)\]", name)]
        node = root
        for key in keys[:-1]:
            node = node.setdefault(key or str(len(node)), {})
            if not isinstance(node, dict):
                raise bad_param(name, f"Invalid parameter: {name}")
        node[keys[-1] or str(len(node))] = value
    return {key: _lists(value) for key, value in root.items()}


def _lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if node and all(key.isdigit() for key in node):
        return [_lists(node[key]) for key in sorted(node, key=int)]
    return {key: _lists(value) for key, value in node.items()}


def integer(params: Mapping[str, Any], name: str, *, shown: str | None = None) -> int:
    value = params.get(name)
    if value is None:
        raise bad_param(shown or name, f"Missing required param: {shown or name}.", code="parameter_missing")
    if not isinstance(value, str) or not re.fullmatch(r"-?\d{1,15}", value):
        raise bad_param(shown or name, f"Invalid integer: {value}", code="parameter_invalid_integer")
    return int(value)


def page_of(found: Sequence[Object], params: Params, url: str) -> Object:
    """Cut one page out of objects that are sorted newest first."""
    limit = integer(params, "limit") if "limit" in params else 10
    if not 1 <= limit <= 100:
        raise bad_param("limit", "This value must be between 1 and 100.", code="parameter_invalid_integer")
    start = 0
    if after := params.get("starting_after"):
        places = [index for index, item in enumerate(found) if item["id"] == after]
        if not places:
            raise missing("object", after, "starting_after")
        start = places[0] + 1
    if before := params.get("ending_before"):
        places = [index for index, item in enumerate(found) if item["id"] == before]
        if not places:
            raise missing("object", before, "ending_before")
        start = max(0, places[0] - limit)
        return {"object": "list", "url": url, "has_more": start > 0, "data": list(found[start : places[0]])}
    data = list(found[start : start + limit])
    return {"object": "list", "url": url, "has_more": start + limit < len(found), "data": data}


def created_within(item: Object, wanted: Any) -> bool:
    """Apply a ``created`` filter: an exact time, or gt, gte, lt, lte."""
    if wanted is None:
        return True
    created: int = item["created"]
    if not isinstance(wanted, dict):
        return created == int(wanted)
    tests = {"gt": int.__gt__, "gte": int.__ge__, "lt": int.__lt__, "lte": int.__le__}
    return all(tests[word](created, integer(wanted, word, shown=f"created[{word}]")) for word in wanted)


CLAUSE: Final = re.compile(r"""\s*(?:metadata\[['"]([^'"]+)['"]\]|(status))\s*:\s*['"]([^'"]*)['"]\s*""")


def read_query(query: str) -> list[tuple[str, ...]]:
    """Read the part of the search language that metadata and status need: (metadata key, "status", value) by AND."""
    found = [CLAUSE.fullmatch(clause) for clause in re.split(r"\s+AND\s+", query)]
    if None in found:
        raise bad_param("query", f"We were unable to parse your search query: {query}")
    return [clause.groups(default="") for clause in found if clause]


def matches_query(clauses: Sequence[tuple[str, ...]], item: Object) -> bool:
    return all((item["status"] if status else item["metadata"].get(key)) == value for key, status, value in clauses)


def signature(body: bytes, signing_secrets: Sequence[str], now: int) -> str:
    """Build Stripe-Signature; during a rotation there is one v1 for each secret that is still valid."""
    signed = str(now).encode() + b"." + body
    macs = (hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in signing_secrets)
    return ",".join([f"t={now}", *(f"v1={mac}" for mac in macs)])


def shown_amount(units: int, currency: str) -> str:
    """Write an amount for the hosted page, from the wire's integer."""
    code = currency.upper()
    decimals = 3 if code in THREE_DECIMALS else 0 if code in NO_DECIMALS else 2
    digits = str(units).rjust(decimals + 1, "0")
    whole, part = digits[: len(digits) - decimals], digits[len(digits) - decimals :]
    if code in TWO_DECIMALS_ALWAYS_00:
        part = ""
    return f"{int(whole):,}{'.' + part if part else ''} {code}"
