"""Who may come in: merchants and their API keys, operators and their passwords.

A key has 256 random bits, so its SHA-256 is enough to store. A revoked key stops within ``KEY_TRUSTED_S`` seconds in
every process (in the one that revoked it, at once), because that is how long a lookup is believed.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import select

from orchestrator.clock import rfc3339
from orchestrator.database.reads import Reads
from orchestrator.database.tables import ApiKey, Merchant, Operator, table_of
from orchestrator.database.unit import Changes, Lock, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.errors import Conflict, Invalid, NotFound
from orchestrator.ids import new_id

PLATFORM: Final = "platform"
"""Stands where a merchant's id stands when the platform itself acts (operators, the admin token)."""
MODES: Final = ("test", "live")
SCOPES: Final = ("read", "write", "keys")
"""What a merchant's key may be allowed to do. ``platform`` is the admin token's alone."""
ROLES: Final = ("viewer", "operator", "admin")
PASSWORD_CHARS_MIN: Final = 12
PASSWORD_CHARS_MAX: Final = 200
KEY_FRESH_S: Final = 2.0
KEY_TRUSTED_S: Final = 4.0
KEYS_CACHED_MAX: Final = 10_000

_KEY_FORM: Final = re.compile(r"sk_(test|live)_[A-Za-z0-9_-]{43}")
_SCRYPT: Final = {"n": 2**15, "r": 8, "p": 3}
"""32 MiB and about 0.3 s a try. Source: OWASP Password Storage Cheat Sheet, scrypt: N=2^15, r=8, p=3."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a key opens."""

    merchant_id: str
    mode: str
    key_id: str
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class NewKey:
    key: Mapping[str, Any]
    secret: str | None = field(repr=False)
    """``sk_...``, only when the key was made by this very call: it is stored nowhere."""


@dataclass(frozen=True, slots=True)
class Person:
    """An operator who proved the password."""

    id: str
    name: str
    role: str


@dataclass(slots=True)
class _Cached:
    grant: Grant
    looked_up_s: float
    renewing: bool = False


class Access:
    """Makes, finds and ends keys, merchants and operators."""

    def __init__(self, writer: Writer, reads: Reads, *, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._writer = writer
        self._reads = reads
        self._monotonic_s = monotonic_s
        self._cache: dict[str, _Cached] = {}

    # --- merchants ----------------------------------------------------------------------------------------------------

    async def create_merchant(
        self, name: str, *, merchant_id: str | None = None, statement_descriptor: str = "", merchant_category: str = ""
    ) -> Mapping[str, Any]:
        """Return the new merchant as shown; with an id that is there already, the one that is there.

        What the card world is told of it was checked by ``payments.sellers``.
        """
        id_ = merchant_id or new_id("mer")

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            there = view.one("merchant", id_)
            if there is not None:
                return merchant_shown(there)
            row: Row = {
                "id": id_, "name": name, "statement_descriptor": statement_descriptor,
                "merchant_category": merchant_category, "created_us": view.now_us,
            }  # fmt: skip
            changes.insert("merchant", **row)
            return merchant_shown(row)

        return (await self._writer.submit(Unit(id_, "live", None, (row_lock("merchant", id_),), decide))).answer

    async def merchant(self, merchant_id: str) -> Row:
        """Return a merchant's row. Raises NotFound."""
        table = table_of(Merchant)
        row = await self._reads.one(select(table).where(table.c.id == merchant_id))
        if row is None:
            raise NotFound("no_such_merchant", "there is no merchant with this id")
        return row

    # --- keys ---------------------------------------------------------------------------------------------------------

    async def create_key(
        self, merchant_id: str, mode: str, scopes: Iterable[str] = ("read", "write"), *, key_id: str | None = None
    ) -> NewKey:
        """Make a key. Given an id that is there already, return that key without its secret. Raises Invalid, NotFound."""
        wanted = [scope for scope in SCOPES if scope in set(scopes)]
        if mode not in MODES or not wanted or len(wanted) != len(set(scopes)):
            raise Invalid("key_is_impossible", f"a key has a mode of {MODES} and at least one scope of {SCOPES}")
        id_ = key_id or new_id("key")
        secret = f"sk_{mode}_{secrets.token_urlsafe(32)}"

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            there = view.one("api_key", id_)
            if there is not None:
                return {"made": False, "key": key_shown(there)}
            if view.one("merchant", merchant_id) is None:
                raise NotFound("no_such_merchant", "there is no merchant with this id", pointer="/merchant")
            row: Row = {
                "id": id_, "merchant_id": merchant_id, "mode": mode, "hash": _hash(secret), "hint": secret[-4:],
                "scopes": " ".join(wanted), "created_us": view.now_us, "revoked_us": None,
            }  # fmt: skip
            changes.insert("api_key", **row)
            return {"made": True, "key": key_shown(row)}

        locks = (row_lock("merchant", merchant_id), row_lock("api_key", id_))
        answer = (await self._writer.submit(Unit(merchant_id, mode, None, locks, decide))).answer
        return NewKey(answer["key"], secret if answer["made"] else None)

    async def grant_of(self, token: str) -> Grant | None:
        """Return what a key opens, or None where it opens nothing (unknown, revoked, not a key at all)."""
        if _KEY_FORM.fullmatch(token) is None:
            return None
        digest = _hash(token)
        cached = self._cache.get(digest)
        if cached is not None:
            age_s = self._monotonic_s() - cached.looked_up_s
            if age_s < KEY_FRESH_S or (cached.renewing and age_s < KEY_TRUSTED_S):
                return cached.grant
            cached.renewing = True  # one caller asks the database; the others still believe it for a moment
        asked_s = self._monotonic_s()
        try:
            table = table_of(ApiKey)
            row = await self._reads.one(select(table).where(table.c.hash == digest, table.c.revoked_us.is_(None)))
        finally:
            if cached is not None:
                cached.renewing = False
        if row is None:
            self._cache.pop(digest, None)
            return None
        grant = Grant(row["merchant_id"], row["mode"], row["id"], frozenset(row["scopes"].split()))
        if len(self._cache) >= KEYS_CACHED_MAX:
            self._cache.pop(next(iter(self._cache)))
        self._cache[digest] = _Cached(grant, asked_s)
        return grant

    async def revoke_key(self, merchant_id: str, mode: str, key_id: str) -> Mapping[str, Any]:
        """End a key; ending it again changes nothing. Raises NotFound, also for another merchant's or mode's key."""

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            row = view.one("api_key", key_id)
            if row is None or (row["merchant_id"], row["mode"]) != (merchant_id, mode):
                raise NotFound("no_such_key", "there is no key with this id")
            if row["revoked_us"] is None:
                changes.update("api_key", (key_id,), revoked_us=view.now_us)
                row = {**row, "revoked_us": view.now_us}
            return key_shown(row)

        unit = Unit(merchant_id, mode, None, (row_lock("api_key", key_id),), decide)
        answer = (await self._writer.submit(unit)).answer
        self._cache = {digest: cached for digest, cached in self._cache.items() if cached.grant.key_id != key_id}
        return answer

    # --- operators ----------------------------------------------------------------------------------------------------

    async def create_operator(self, name: str, password: str, role: str) -> Person:
        """Make an operator. Raises Invalid (role, length of the password), Conflict (the name is taken)."""
        if role not in ROLES:
            raise Invalid("role_is_unknown", f"a role is one of {ROLES}", pointer="/role")
        if not PASSWORD_CHARS_MIN <= len(password) <= PASSWORD_CHARS_MAX:
            raise Invalid("password_has_a_bad_length", f"{PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters",
                          pointer="/password")  # fmt: skip
        person = Person(new_id("opr"), name, role)
        password_hash = await asyncio.to_thread(hash_password, password)

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            if view.many("operator", ("name",), (name,)):
                raise Conflict("operator_exists", "there is an operator of this name")
            changes.insert(
                "operator",
                id=person.id, name=name, password_hash=password_hash, role=role, created_us=view.now_us,
            )  # fmt: skip
            return {}

        locks = (Lock("operator", ("name",), (name,)),)
        await self._writer.submit(Unit(PLATFORM, "live", None, locks, decide))
        return person

    async def verify_operator(self, name: str, password: str) -> Person | None:
        """Return the operator whose password this is. As slow for a name that nobody has."""
        if len(password) > PASSWORD_CHARS_MAX:
            return None
        table = table_of(Operator)
        row = await self._reads.one(select(table).where(table.c.name == name))
        stored = _NOBODYS_HASH if row is None else row["password_hash"]
        right = await asyncio.to_thread(is_password, stored, password)
        return Person(row["id"], row["name"], row["role"]) if right and row is not None else None


def merchant_shown(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "name": row["name"],
        "statement_descriptor": row["statement_descriptor"],
        "merchant_category": row["merchant_category"],
        "created_at": rfc3339(row["created_us"]),
    }


def key_shown(row: Row) -> dict[str, Any]:
    """Return a key as shown: never its hash."""
    return {
        "id": row["id"],
        "merchant": row["merchant_id"],
        "mode": row["mode"],
        "hint": row["hint"],
        "scopes": row["scopes"].split(),
        "created_at": rfc3339(row["created_us"]),
        "revoked_at": None if row["revoked_us"] is None else rfc3339(row["revoked_us"]),
    }


def hash_password(password: str) -> str:
    """Return ``scrypt$n$r$p$salt$hash``. Takes about 0.3 s."""
    salt = secrets.token_bytes(16)
    digest = _scrypt(password, salt, **_SCRYPT)
    return "$".join(["scrypt", *(str(part) for part in _SCRYPT.values()), salt.hex(), digest.hex()])


def is_password(stored: str, password: str) -> bool:
    """Say whether this is the password, in constant time after the hash."""
    _, n, r, p, salt, digest = stored.split("$")
    found = _scrypt(password, bytes.fromhex(salt), n=int(n), r=int(r), p=int(p))
    return hmac.compare_digest(found, bytes.fromhex(digest))


def _scrypt(password: str, salt: bytes, *, n: int, r: int, p: int) -> bytes:
    # OpenSSL's own limit of 32 MiB is a little below what n=2^15, r=8 needs.
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, n=n, r=r, p=p, maxmem=2**27)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


_NOBODYS_HASH: Final = "$".join(["scrypt", *(str(part) for part in _SCRYPT.values()), "00" * 16, "00" * 64])
