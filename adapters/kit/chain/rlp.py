"""RLP, both ways and canonical only: what decodes encodes to the same bytes again. Pure.

Written out because the signer reads what it signs with it: forty lines that can be checked by eye.
Source: https://ethereum.org/en/developers/docs/data-structures-and-encoding/rlp/
"""

from __future__ import annotations

from typing import TypeAlias

Item: TypeAlias = "bytes | list[Item]"

DEPTH_MAX = 4


class NotRlp(ValueError):
    """Not canonical RLP."""


def encode(item: Item) -> bytes:
    if isinstance(item, list):
        content = b"".join(encode(part) for part in item)
        return _head(0xC0, len(content)) + content
    if len(item) == 1 and item[0] < 0x80:
        return item
    return _head(0x80, len(item)) + item


def decode(raw: bytes) -> Item:
    """Read exactly one item. Raises NotRlp."""
    item, end = _item(raw, 0, 0)
    if end != len(raw) or encode(item) != raw:
        raise NotRlp("bytes are left over, or the form is not the canonical one")
    return item


def number(value: int) -> bytes:
    """Return a whole number as RLP wants it: big-endian, no leading zeros."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def as_number(item: Item) -> int:
    """Read a whole number. Raises NotRlp."""
    if isinstance(item, list) or item[:1] == b"\0" or len(item) > 32:
        raise NotRlp("a number is at most 32 bytes without leading zeros")
    return int.from_bytes(item, "big")


def as_bytes(item: Item) -> bytes:
    """Raises NotRlp where a list stands."""
    if isinstance(item, list):
        raise NotRlp("bytes are due, not a list")
    return item


def _head(base: int, length: int) -> bytes:
    if length < 56:
        return bytes([base + length])
    size = number(length)
    return bytes([base + 55 + len(size)]) + size


def _item(raw: bytes, start: int, depth: int) -> tuple[Item, int]:
    if start >= len(raw) or depth > DEPTH_MAX:
        raise NotRlp("the bytes end too early, or lists go too deep")
    first = raw[start]
    if first < 0x80:
        return raw[start : start + 1], start + 1
    is_list = first >= 0xC0
    short = first - (0xC0 if is_list else 0x80)
    begin = start + 1
    if short >= 56:
        size = short - 55
        length = int.from_bytes(raw[begin : begin + size], "big")
        begin += size
    else:
        length = short
    end = begin + length
    if end > len(raw):
        raise NotRlp("the bytes end too early")
    if not is_list:
        return raw[begin:end], end
    parts: list[Item] = []
    while begin < end:
        part, begin = _item(raw[:end], begin, depth + 1)
        parts.append(part)
    return parts, end
