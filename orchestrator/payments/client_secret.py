"""The secret by which a buyer's page speaks for one session: derived, never stored."""

from __future__ import annotations

import hashlib
import hmac


def client_secret(server_secret: bytes, session_id: str) -> str:
    """Return ``cs_..._secret_...`` of a session. Raises ValueError on an empty server secret."""
    if not server_secret:
        raise ValueError("the server's secret is empty: anybody could open any session")
    digest = hmac.new(server_secret, f"client-secret-1\n{session_id}".encode(), hashlib.sha256).hexdigest()
    return f"{session_id}_secret_{digest[:40]}"


def is_client_secret(server_secret: bytes, session_id: str, given: str) -> bool:
    """Say whether the secret is this session's, in constant time."""
    return hmac.compare_digest(client_secret(server_secret, session_id).encode(), given.encode("utf-8", "replace"))


def pay_url(public_url: str, server_secret: bytes, session_id: str) -> str:
    """Return the address of the hosted page."""
    return page_url(public_url, session_id, client_secret(server_secret, session_id))


def page_url(public_url: str, session_id: str, secret: str) -> str:
    """Return the address of the hosted page for a ``client_secret`` that is at hand."""
    return f"{public_url}/pay/{session_id}?client_secret={secret}"
