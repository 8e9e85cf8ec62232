"""The page of a simulated chain on which a person plays the buyer, and the address forms that it accepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

import base58
from eth_utils.address import is_address, is_checksum_formatted_address, to_canonical_address

STYLE: Final = """
body{font:17px/1.5 system-ui,sans-serif;margin:0;color:#1c1c1c;background:#f4f4f2}
main{max-width:30rem;margin:0 auto;padding:1rem}
.banner{background:#7a1fa2;color:#fff;text-align:center;padding:.6rem;font-weight:700;letter-spacing:.05em}
label{display:block;margin:.9rem 0 .2rem;font-weight:600}
input,select,button{font:inherit;width:100%;box-sizing:border-box;padding:.7rem;border:1px solid #999;border-radius:.4rem}
button{margin-top:1.2rem;background:#1c1c1c;color:#fff;border:0;font-weight:700}
.note{background:#fff;border-left:4px solid #2b8a3e;padding:.6rem .8rem;overflow-wrap:anywhere}
.error{border-color:#c92a2a}
"""


def read_address(text: str) -> bytes:
    """Read an address in either form, as wallets do: 0x hex (EIP-55 if mixed) or base58check. Raises ValueError."""
    if text.startswith("T"):
        decoded = base58.b58decode_check(text)
        if len(decoded) == 21 and decoded[:1] == b"\x41":
            return decoded[1:]
    elif text.startswith("0x") and (is_address(text) if is_checksum_formatted_address(text) else len(text) == 42):
        return bytes(to_canonical_address(text))
    raise ValueError(f"{text[:60]!r} is no address (0x and 40 hex digits, or T and 33 characters)")


def render(
    *,
    network: str,
    action: str,
    tokens: Sequence[str],
    form: Mapping[str, str],
    block_seconds: float,
    tx_hash: str,
    error: str,
) -> str:
    """Return the page. All that came from outside is escaped."""
    note = ""
    if tx_hash:
        note = (
            f'<p class="note">Sent. It is in the next block (about every {block_seconds:g} s).<br>'
            f"Transaction <code>{escape(tx_hash)}</code></p>"
        )
    if error:
        note = f'<p class="note error">{escape(error)}</p>'
    chosen = form.get("token", "")
    choices = "".join(f"<option{' selected' if token == chosen else ''}>{escape(token)}</option>" for token in tokens)
    to = escape(form.get("to", form.get("address", "")))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>Simulated wallet: {escape(network)}</title><style>{STYLE}</style></head>
<body><div class="banner">SIMULATOR: no real money, no real chain</div>
<main><h1>Pay on {escape(network)}</h1>
<p>You are the buyer. Paste the deposit address and send any amount: too little, too much, late or twice.</p>{note}
<form method="post" action="{escape(action)}">
<label for="to">To address</label><input id="to" name="to" required autocomplete="off" value="{to}">
<label for="amount">Amount</label>
<input id="amount" name="amount" required inputmode="decimal" value="{escape(form.get("amount", ""))}">
<label for="token">Token</label><select id="token" name="token">{choices}</select>
<button>Send</button></form></main></body></html>"""
