"""Reading a request's body: within a size and a time, from a caller that may go away meanwhile. The only door to it."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from orchestrator.api import problems

BODY_SECONDS_MAX: Final = 20
_BODY: Final = web.RequestKey("body", bytes)


async def read_body(request: web.Request, bytes_max: int) -> bytes:
    """Return the body. Raises BodyTooLarge, BodySlow, BadRequest (the caller hung up before its end)."""
    if (request.content_length or 0) > bytes_max:
        raise problems.BodyTooLarge("body_too_large", f"at most {bytes_max} bytes here", bytes_max=bytes_max)
    raw = request.get(_BODY)
    if raw is not None:
        return _within(raw, bytes_max)
    try:
        if request.content.is_eof():  # it came with its headers: there is nothing to wait for
            raw = request.content.read_nowait()
        else:
            async with asyncio.timeout(BODY_SECONDS_MAX):
                raw = await request.read()
    except TimeoutError:
        raise problems.BodySlow("body_too_slow", f"the body took longer than {BODY_SECONDS_MAX} s") from None
    except ConnectionError:
        raise problems.BadRequest("body_cut_off", "the connection was lost before the body's end") from None
    request[_BODY] = raw  # what was taken out of the stream is there no more
    return _within(raw, bytes_max)


def _within(raw: bytes, bytes_max: int) -> bytes:
    if len(raw) > bytes_max:
        raise problems.BodyTooLarge("body_too_large", f"at most {bytes_max} bytes here", bytes_max=bytes_max)
    return raw
