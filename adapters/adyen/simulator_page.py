"""The simulator's hosted page: one form per method, plain HTML, nothing from elsewhere."""

from __future__ import annotations

from html import escape
from typing import Final
from urllib.parse import urlsplit

import segno

from adapters.adyen.simulator_state import Link

DECIMALS: Final = {"BRL": 2, "EUR": 2, "PHP": 2}
NAMES: Final = {"pix": "Pix", "ideal": "iDEAL", "gcash": "GCash"}
BANKS: Final = ("ABN AMRO", "ING", "Rabobank", "SNS", "bunq")

STYLE: Final = """
body{font:17px/1.45 system-ui,sans-serif;margin:0;background:#f2f4f5;color:#111}
main{max-width:26rem;margin:0 auto;padding:1rem}
.banner{background:#7a2e00;color:#fff;padding:.6rem 1rem;text-align:center;font-weight:600}
.card{background:#fff;border-radius:.7rem;padding:1.1rem;margin-top:1rem;box-shadow:0 1px 3px #0003}
h1{font-size:1.15rem;margin:.1rem 0 .6rem}.sum{font-size:1.9rem;font-weight:700;margin:.2rem 0}
label{display:block;margin:.6rem 0 .2rem}
select,input{font:inherit;width:100%;padding:.6rem;box-sizing:border-box;border:1px solid #888;border-radius:.4rem}
button,a.go{display:block;width:100%;box-sizing:border-box;font:inherit;font-weight:600;text-align:center;padding:.8rem;
margin-top:.8rem;border:0;border-radius:.5rem;background:#0a7a3d;color:#fff;text-decoration:none;cursor:pointer}
button.no{background:#fff;color:#111;border:1px solid #888}svg{display:block;margin:.5rem auto;max-width:100%}
code{word-break:break-all;font-size:.8rem}.small{color:#555;font-size:.9rem}
"""

CLOSED: Final = {
    "completed": "This payment is complete.",
    "expired": "This payment link has expired.",
}


def page(link: Link, said: str = "") -> str:
    """Return the page in the state that the link is in."""
    parts = [f'<p role="status">{escape(said)}</p>'] if said else []
    if link.status in CLOSED:
        parts.append(f"<p>{CLOSED[link.status]}</p>")
    else:
        parts.append(_form(link))
    back = str(link.body.get("returnUrl", ""))
    done = bool(said) or link.status in CLOSED  # as Adyen does: the button comes after a result
    if done and urlsplit(back).scheme in {"http", "https"}:
        parts.append(f'<a class="go" id="continue" href="{escape(back)}">Continue</a>')
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>{escape(NAMES.get(link.method, link.method))} (simulator)</title><style>{STYLE}</style></head>
<body><div class="banner">SIMULATOR of Adyen: no real money moves here</div><main>
<div class="card"><h1>{escape(str(link.body.get("description", "Payment")))}</h1>
<p class="sum">{escape(_amount(link))}</p>
<p class="small">{escape(link.body["merchantAccount"])} · {escape(link.body["reference"])}</p></div>
<div class="card">{"".join(parts)}</div></main></body></html>"""


def _amount(link: Link) -> str:
    code, value = link.body["amount"]["currency"], link.body["amount"]["value"]
    decimals = DECIMALS.get(code, 2)
    return f"{code} {value // 10**decimals}.{value % 10**decimals:0{decimals}d}"


def _form(link: Link) -> str:
    """Return the method's own form; paid and refused are its buttons."""
    match link.method:
        case "pix":
            text = f"SIMULATOR-PIX|{link.id}|{link.body['amount']['currency']}|{link.body['amount']['value']}"
            code = segno.make(text, error="m").svg_inline(scale=5)
            middle = f"<h1>Pix</h1><p>Scan with your bank's app, or copy the code.</p>{code}<code>{escape(text)}</code>"
            pay = "I have paid"
        case "ideal":
            banks = "".join(f"<option>{name}</option>" for name in BANKS)
            middle = f'<h1>iDEAL</h1><label for="bank">Choose your bank</label><select id="bank" name="bank">{banks}</select>'
            pay = "Pay with this bank"
        case "gcash":
            middle = (
                '<h1>GCash</h1><label for="phone">Mobile number</label>'
                '<input id="phone" name="phone" inputmode="tel" value="0917 000 0000">'
                '<label for="pin">Authentication code</label><input id="pin" name="pin" inputmode="numeric" value="000000">'
            )
            pay = "Pay"
        case other:
            middle, pay = f"<h1>{escape(other)}</h1>", "Pay"
    waiting = "<p>Waiting for your bank.</p>" if link.status == "paymentPending" else ""
    return f"""{waiting}<form method="post">{middle}
<button name="outcome" value="paid" id="pay">{pay}</button>
<button class="no" name="outcome" value="refused" id="decline">Decline this payment</button>
<button class="no" name="outcome" value="abandoned" id="abandon">Leave without paying</button></form>"""
