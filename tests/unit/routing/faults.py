"""A clean set of rules, and the faults that people make: each one edit away from it."""

from __future__ import annotations

from dataclasses import dataclass

CLEAN = """\
mode: sandbox
compliance:
  blocked_countries: [CU, KP]
  session_min_usd: "1.00"
  session_max_usd: "2500.00"
routing:
  regions:
    latam: [BR, MX, AR]
    sea: [VN, PH, TH]
  live_countries: [BR, NL, DE, latam, sea]
  defaults:
    offers: [card, usdt_tron]
  rules:
    - id: brazil-small
      when: {country: BR, amount_usd: {min: 5, max: 500}}
      offers:
        - {method: pix, rail: adyen, on_decline: {soft: next}}
        - {method: card, rail: stripe}
      owner: ops-latam
      expires: 2027-06-30
      tests:
        - given: {country: BR, amount_usd: 50}
          expect: {first: pix, rule: brazil-small}
    - id: brazil-large
      when: {country: BR, amount_usd: {min: 500, max: 2500}}
      offers: [card, usdt_tron]
      owner: ops-latam
      tests:
        - given: {country: BR, amount_usd: 600}
          expect: {first: card, rule: brazil-large}
    - id: netherlands-ideal
      when: {country: NL, risk: [low, medium]}
      offers: [ideal, card]
      owner: ops-europe
      tests:
        - given: {country: NL, risk: low}
          expect: {first: ideal}
    - id: sea-tokens
      when: {region: sea, hour: {min: 6, max: 22}}
      offers: [usdt_tron, usdt_bsc, card]
      owner: ops-sea
      tests:
        - given: {country: VN}
          expect: {first: usdt_tron, rail: tron}
    - id: latam-young
      when: {region: latam, customer_age_days: {max: 30}, metadata.plan: [pro]}
      offers: [card, usdt]
      rank: speed
      owner: ops-latam
      tests:
        - given: {country: MX, customer_age_days: 3, metadata: {plan: pro}}
          expect: {rule: latam-young}
  rail_choice:
    - id: card-at-stripe
      when: {method: card}
      split: {by: customer, weights: {stripe: 60, evm: 0, other/x: 40}}
      owner: ops
  pricing:
    - {corridor: "USD-BRL", spread_bps: 120}
    - {corridor: "USD-USDT", spread_bps: 20}
    - {corridor: "USD-*", spread_bps: 100}
  costs:
    - {method: card, fx_bps: 90, refund_bps: 10, dispute_bps: 15}
    - {currency: BRL, fx_bps: 110}
  maintenance:
    - {rail: adyen, method: pix, starts: "2026-12-01T02:00:00Z", ends: "2026-12-01T04:00:00Z", reason: announced}
""".replace("      split: {by: customer, weights: {stripe: 60, evm: 0, other/x: 40}}\n", "      rail: stripe\n")


@dataclass(frozen=True)
class Fault:
    """``old`` is replaced by ``new``; lint must find ``code`` in the line that holds ``line``."""

    name: str
    old: str
    new: str
    code: str
    line: str
    says: str


_PIX = "- {method: pix, rail: adyen, on_decline: {soft: next}}"
_SMALL = "when: {country: BR, amount_usd: {min: 5, max: 500}}"
_NL = "when: {country: NL, risk: [low, medium]}"
_SEA = "when: {region: sea, hour: {min: 6, max: 22}}"

FAULTS = (
    # What cannot be read.
    Fault("unknown key", "owner: ops-sea", "ovner: ops-sea", "invalid", "ovner", "did you mean 'owner'?"),
    Fault("unknown condition", "risk: [low, medium]", "rsk: [low, medium]", "invalid", "rsk", "did you mean 'risk'?"),
    Fault("a country's name", "country: NL", "country: Netherlands", "invalid", "Netherlands", "did you mean 'NL'?"),
    Fault("three letters", "country: NL", "country: NLD", "invalid", "NLD", "did you mean 'NL'?"),
    Fault("unknown region", "region: sea", "region: see", "invalid", "see", "did you mean 'sea'?"),
    Fault("unknown method", "offers: [ideal, card]", "offers: [idael, card]", "invalid", "idael", "mean 'ideal'?"),
    Fault("unknown rail", _PIX, _PIX.replace("adyen", "adyn"), "invalid", "adyn", "did you mean 'adyen'?"),
    Fault("unknown account", _PIX, _PIX.replace("rail: adyen", "rail: adyen, account: mian"), "invalid", "mian", "main"),
    Fault("rail without the method", _PIX, _PIX.replace("adyen", "stripe"), "invalid", "rail: stripe, on_", "does not offer"),
    Fault("two rules of one name", "id: sea-tokens", "id: brazil-small", "invalid", "id: brazil-small", "used twice"),
    Fault("band reversed", "{min: 5, max: 500}", "{min: 500, max: 5}", "invalid", "min: 500, max: 5}", "min is above max"),
    Fault("hours over midnight", "{min: 6, max: 22}", "{min: 22, max: 6}", "invalid", "min: 22", "over midnight"),
    Fault("hour 24", "{min: 6, max: 22}", "{min: 6, max: 24}", "invalid", "max: 24", "less than or equal to 23"),
    Fault("a condition left empty", "country: NL, risk: [low, medium]", "country: NL, risk: ", "invalid", "risk: }", "empty"),
    Fault("no offers", "offers: [ideal, card]", "offers: []", "invalid", "offers: []", "at least 1"),
    Fault("unknown risk", "[low, medium]", "[low, mid]", "invalid", "[low, mid]", "must be one of low, medium, high"),
    Fault("an amount of letters", "max: 2500}", "max: lots}", "invalid", "lots", "decimal number"),
    Fault("a test that fails", "expect: {first: ideal}", "expect: {first: card}", "test-fails", "first: card}", "expected first"),
    Fault("a test of nothing", "{country: BR, amount_usd: 50}", "{country: BR, amount_usd: 0}", "invalid", "amount_usd: 0}",
          "nothing is routed for an amount of 0"),
    Fault("an id of two words", "id: sea-tokens", "id: Sea tokens", "invalid", "id: Sea", "small letters, digits and hyphens"),
    Fault("a corridor with a slash", 'USD-BRL"', 'USD/BRL"', "invalid", "USD/BRL", "such as USD-BRL"),
    Fault("a spread in percent", "spread_bps: 120", "spread_bps: 1.2", "invalid", "spread_bps: 1.2", "100 are 1 %"),
    Fault("a date of another kind", "expires: 2027-06-30", "expires: 30.6.2027", "invalid", "expires: 30", "write 2027-06-30"),
    Fault("a time without its zone", 'starts: "2026-12-01T02:00:00Z"', 'starts: "2026-12-01 02:00"', "invalid",
          "starts: ", "write 2026-12-01T02:00:00Z"),
    Fault("an amount where a band stands", "amount_usd: {min: 5, max: 500}", "amount_usd: 500", "invalid", "amount_usd: 500",
          "known here: min, max"),
    Fault("offers left empty", "      offers: [ideal, card]", "      offers:", "invalid", "      offers:", "is empty"),
    Fault("a brace left open", "when: {country: BR, amount_usd: {min: 5, max: 500}}",
          "when: {country: BR, amount_usd: {min: 5, max: 500}", "invalid", "      offers:", "a closing } is missing"),
    Fault("a rule out of line", "    - id: sea-tokens", "   - id: sea-tokens", "invalid", "- id: sea-tokens", "is not indented like"),
    Fault("expects nothing", "expect: {first: ideal}", "expect: {}", "invalid", "expect: {}", "expects nothing"),
    Fault("split not 100", "      rail: stripe\n", "      split: {by: customer, weights: {stripe: 60}}\n", "invalid",
          "weights: {stripe: 60}", "add up to 60, not 100"),
    Fault("split to an unknown rail", "      rail: stripe\n", "      split: {by: customer, weights: {strip: 100}}\n",
          "invalid", "strip: 100", "did you mean 'stripe'?"),
    Fault("neither rail nor split", "      rail: stripe\n", "", "invalid", "id: card-at-stripe", "needs either rail or split"),
    Fault("priced twice", 'USD-USDT"', 'USD-BRL"', "invalid", 'USD-BRL", spread_bps: 20', "priced twice"),
    Fault("a spread of half", "spread_bps: 120", "spread_bps: 12000", "invalid", "12000", "less than or equal to 2000"),
    Fault("costs said twice", "{currency: BRL, fx_bps: 110}", "{method: card, fx_bps: 110}", "invalid", "fx_bps: 110", "said twice"),
    Fault("window reversed", 'ends: "2026-12-01T04', 'ends: "2026-12-01T01', "invalid", "2026-12-01T01", "not after starts"),
    Fault("maintenance of nothing", "{rail: adyen, method: pix, starts", "{rail: tron, method: pix, starts", "invalid",
          "rail: tron, method", "does not offer"),
    Fault("live in no country", "live_countries: [BR", "live_countries: [BRA", "invalid", "BRA", "did you mean 'BR'?"),
    Fault("taken by one above", _NL, "when: {country: BR, amount_usd: {min: 10, max: 20}}", "shadowed",
          "id: netherlands-ideal", "can never match"),
    Fault("on_decline that is not there", "{soft: next}}", "{soft: retry}}", "invalid", "retry", "must be one of next, ask, stop"),
    Fault("a tab", "      owner: ops-sea", "\towner: ops-sea", "invalid", "\towner", "tabs"),
    Fault("a key twice", "      rank: speed\n", "      rank: speed\n      rank: cost\n", "invalid", "rank: cost", "twice"),
    # What can be read, and cannot be meant.
    Fault("contradiction of country and region", "when: {region: sea, hour", "when: {region: sea, country: BR, hour",
          "contradiction", "id: sea-tokens", "can never match"),
    Fault("contradiction inside any", _NL, "when: {country: NL, not: {country: [NL, DE]}}", "contradiction",
          "id: netherlands-ideal", "no session can have all"),
    Fault("contradiction of all and its own band", _SMALL,
          "when: {country: BR, amount_usd: {min: 5, max: 500}, all: [{amount_usd: {min: 600}}]}", "contradiction",
          "id: brazil-small", "can never match"),
    Fault("two above take everything together", "when: {region: latam, customer_age_days: {max: 30}, metadata.plan: [pro]}",
          "when: {country: BR, amount_usd: {min: 100, max: 900}}", "shadowed", "id: latam-young", "brazil-small, brazil-large"),
    Fault("method not in the country", "offers: [ideal, card]", "offers: [ideal, gcash]", "method-not-in-country",
          "[ideal, gcash]", "does not serve it there"),
    Fault("method not in every country", "offers: [usdt_tron, usdt_bsc, card]", "offers: [usdt_tron, gcash, card]",
          "method-not-everywhere", "usdt_tron, gcash", "does not serve"),
    Fault("amounts that the rail does not take", _SMALL, "when: {country: BR, amount_usd: {min: 3200, max: 4000}}",
          "amount-outside-limits", "method: pix", "outside of that"),
    Fault("amounts beyond the rail's", "{min: 5, max: 500}", "{min: 5, max: 4000}", "amount-partly-outside-limits",
          "method: pix", "goes beyond"),
    Fault("a live country without an offer", "offers: [card, usdt_tron]\n  rules", "offers: [pix]\n  rules",
          "country-without-offer", "live_countries", "has no offer"),
    Fault("a gap between bands", "{min: 500, max: 2500}", "{min: 700, max: 2500}", "amount-gap", "min: 700", "is a gap"),
    Fault("overlapping bands", "{min: 500, max: 2500}", "{min: 300, max: 2500}", "amount-overlap", "min: 300", "overlap"),
    Fault("no spread for a currency", '    - {corridor: "USD-*", spread_bps: 100}\n', "", "no-spread", 'corridor: "USD-BRL"',
          "no corridor of pricing covers "),
    Fault("a spread below cost", 'USD-BRL", spread_bps: 120', 'USD-BRL", spread_bps: 90', "spread-below-cost",
          "spread_bps: 90", "converting costs 110 bps"),
    Fault("a rule without owner", "      owner: ops-sea\n", "", "no-owner", "id: sea-tokens", "belongs to nobody"),
    Fault("a rule without test", "      tests:\n        - given: {country: VN}\n          expect: {first: usdt_tron, rail: tron}\n",
          "", "no-test", "id: sea-tokens", "has no test"),
    Fault("expired", "expires: 2027-06-30", "expires: 2026-06-30", "expired", "expires: 2026", "still matches"),
    Fault("expires soon", "expires: 2027-06-30", "expires: 2026-12-01", "expires-soon", "expires: 2026", "expires on"),
    Fault("offered twice", "offers: [ideal, card]", "offers: [ideal, card, ideal]", "repeated-offer", "card, ideal]", "already"),
    Fault("a token and its method", "offers: [card, usdt]", "offers: [card, usdt, usdt_bsc]", "repeated-offer",
          "usdt, usdt_bsc", "already"),
    Fault("a region that nobody uses", "    sea: [VN, PH, TH]\n", "    sea: [VN, PH, TH]\n    gulf: [AE, SA]\n",
          "unused-region", "gulf", "no rule uses"),
    Fault("a choice that never picks", "when: {method: card}", "when: {method: gcash}", "invalid", "rail: stripe", "does not offer"),
    Fault("ranking one offer", "offers: [card, usdt]\n", "offers: [card]\n", "rank-of-one", "rank: speed", "single offer"),
    Fault("a rule for a blocked country", "country: NL, risk", "country: [NL, CU], risk", "blocked-country", "NL, CU",
          "blocked by compliance"),
    Fault("live in a blocked country", "live_countries: [BR", "live_countries: [KP, BR", "blocked-country", "live_countries",
          "KP is live here and blocked"),
    Fault("asks for a method and offers others", "country: NL, risk", "country: NL, method: gcash, risk",
          "offers-filtered", "offers: [ideal, card]", "offers none of it"),
    Fault("maintenance that is over", 'starts: "2026-12-01T02:00:00Z", ends: "2026-12-01T04',
          'starts: "2026-10-01T02:00:00Z", ends: "2026-10-01T04', "maintenance-over", "rail: adyen, method: pix", "ended"),
)  # fmt: skip
