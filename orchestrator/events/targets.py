"""Where a delivery may go: a merchant chooses the URL, so it must not lead into our own network (SSRF).

Checked when the endpoint is made and again at every connection, on the addresses that are connected to: a name may
lead elsewhere by then. Redirects are never followed. Source: Standard Webhooks 1.0.0, "Server side request forgery".
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from orchestrator.errors import Invalid

URL_LENGTH_MAX: Final = 2048
RESOLVE_TIMEOUT_S: Final = 5
RESOLVER_THREADS: Final = 32
_FIGURES: Final = re.compile(r"\d+|0[xX][0-9a-fA-F]*")
"""A last label like this makes the name an address for some libraries (127.1, 0x7f000001) and a name for others."""
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


class TargetRefused(OSError):
    """The address is not one that we deliver to."""


@dataclass(frozen=True, slots=True)
class TargetPolicy:
    """``allow_private``: loopback and private networks are fine, also by plain http. For sandboxes only."""

    allow_private: bool = False


def embedded(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)


def check_address(text: str, scheme: str, policy: TargetPolicy) -> None:
    """Raise TargetRefused unless we deliver to this address by this scheme.

    Link-local is refused always: cloud providers serve machine credentials there (169.254.169.254).
    """
    address = embedded(ipaddress.ip_address(text.partition("%")[0]))
    never = address.is_multicast or address.is_unspecified or address.is_link_local or address.is_reserved
    if never and not address.is_loopback:  # ::1 lies in a reserved block
        raise TargetRefused("address_is_not_allowed")
    if address.is_global:
        if scheme != "https":
            raise TargetRefused("https_is_required")
    elif not policy.allow_private:
        raise TargetRefused("address_is_private")


@lru_cache(maxsize=1024)
def check_url(text: str, policy: TargetPolicy) -> URL:
    """Return the URL as the sender will understand it. Raises Invalid with what to mend."""
    try:
        url = URL(text)
        host, port = url.host, url.port
    except (ValueError, TypeError):
        raise _invalid("url_is_malformed", "this is not a URL") from None
    if len(text) > URL_LENGTH_MAX or not text.isprintable() or " " in text:
        raise _invalid("url_is_malformed", f"at most {URL_LENGTH_MAX} printable characters")
    if url.scheme != "https" and not (url.scheme == "http" and policy.allow_private):
        raise _invalid("https_is_required", "events are sent over https only")
    if not host or not port:
        raise _invalid("url_is_malformed", "the URL names no host")
    if url.user is not None or url.password is not None or url.fragment:
        raise _invalid("url_is_malformed", "a URL without user, password and fragment; deliveries are signed")
    literal = literal_address(host)
    if literal is None and _FIGURES.fullmatch(host.rstrip(".").rpartition(".")[2]):
        raise _invalid("url_is_malformed", "an address is written whole: four numbers, or IPv6 in brackets")
    if literal is not None:
        try:
            check_address(literal, url.scheme, policy)
        except TargetRefused as refused:
            raise _invalid(str(refused), "we deliver to public addresses only") from None
    return url


def literal_address(host: str) -> str | None:
    """Return the host where it is an address in figures, else None (a name to look up)."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return host


def _invalid(code: str, detail: str) -> Invalid:
    return Invalid(f"webhook_{code}", detail, pointer="/url")


async def check_target(text: str, policy: TargetPolicy) -> str:
    """Return a URL that an endpoint may have. Raises Invalid.

    A name that cannot be looked up now is taken: it is looked up again, and checked, at every delivery.
    """
    url = check_url(text, policy)
    if literal_address(url.host or "") is None:
        resolver = GuardedResolver(url.scheme, policy, threads=1)
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                await resolver.resolve(url.host or "", url.port or 0, socket.AF_UNSPEC)
        except TargetRefused as refused:
            raise _invalid(str(refused), "the name leads to an address that we do not deliver to") from None
        except (OSError, UnicodeError):  # TimeoutError is an OSError
            return str(url)
        finally:
            await resolver.close()
    return str(url)


class GuardedResolver(AbstractResolver):
    """Looks names up on threads of its own, so that a dead name server stops nobody else; refuses whole names.

    A name with one forbidden address is refused whole: an honest endpoint has none.
    """

    def __init__(self, scheme: str, policy: TargetPolicy, threads: int = RESOLVER_THREADS) -> None:
        self._scheme = scheme
        self._policy = policy
        self._pool = ThreadPoolExecutor(threads, "crossrail-names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raise TargetRefused, or OSError where the name cannot be looked up."""
        found = await asyncio.get_running_loop().run_in_executor(
            self._pool, lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
        )
        results: list[ResolveResult] = []
        for kind, _, proto, _, address in found:
            numeric = str(address[0])
            check_address(numeric, self._scheme, self._policy)
            results.append(
                ResolveResult(
                    hostname=host, host=numeric, port=port, family=kind, proto=proto, flags=socket.AI_NUMERICHOST
                )
            )
        return results

    async def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
