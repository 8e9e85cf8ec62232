"""Ids: a prefix that says what it is, and a time-ordered UUIDv7 (random ids ruin indexes at millions of rows)."""

from __future__ import annotations

from uuid_utils import uuid7


def new_id(prefix: str) -> str:
    """Return a new id such as ``pay_0199...`` (32 hex digits after the prefix)."""
    return f"{prefix}_{uuid7().hex}"
