"""Who may come in, and what each may see."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace

import pytest

from orchestrator.access import (
    KEY_FRESH_S,
    KEY_TRUSTED_S,
    Access,
    hash_password,
    is_password,
)
from orchestrator.api.callers import is_admin_token
from orchestrator.database.schema import COLUMNS, DEFAULTS
from orchestrator.database.unit import Changes, Unit, View
from orchestrator.errors import Conflict, Invalid, NotFound
from orchestrator.payments.client_secret import client_secret
from tests.integration.api.house import ADMIN_TOKEN, House, TestSecrets

PASSWORD = "a passphrase of tests"


# --- keys -------------------------------------------------------------------------------------------------------------


async def test_no_key_and_a_wrong_key_are_refused_alike_by_status(house: House) -> None:
    for token, code in (("", "key_missing"), ("sk_test_" + "x" * 43, "key_unknown"), ("sk_test_short", "key_unknown"),
                        ("nothing", "key_unknown"), ("x" * 400, "key_missing")):  # fmt: skip
        answer = await house.call("GET", "/v1/boxes", key=token)
        assert (answer.status, answer.json["code"], answer.headers["WWW-Authenticate"]) == (401, code, "Bearer"), token
    basic = {"Authorization": f"Basic {house.key}"}
    assert (await house.call("GET", "/v1/boxes", key="", headers=basic)).status == 401


async def test_a_key_is_stored_as_a_hash_only(house: House) -> None:
    (row,) = await house.rows("api_key")
    assert row["hash"] == hashlib.sha256(house.key.encode()).hexdigest()
    assert row["hint"] == house.key[-4:]
    assert house.key not in repr(row)


async def test_a_key_does_what_its_scopes_say(house: House) -> None:
    reader = await house.new_key("test", "read")
    assert (await house.call("GET", "/v1/boxes", key=reader)).status == 200
    answer = await house.post("/v1/boxes", {"name": "x"}, key=reader)
    assert (answer.status, answer.json["code"]) == (403, "scope_missing")
    assert (await house.call("GET", "/v1/keys", key=house.key)).status == 403


async def test_a_revoked_key_opens_nothing_any_more(house: House) -> None:
    doomed = await house.new_key()
    assert (await house.call("GET", "/v1/boxes", key=doomed)).status == 200
    row = next(row for row in await house.rows("api_key") if row["hint"] == doomed[-4:])
    await house.services.access.revoke_key(house.merchant, "test", row["id"])
    assert (await house.call("GET", "/v1/boxes", key=doomed)).status == 401
    again = await house.services.access.revoke_key(house.merchant, "test", row["id"])
    assert again["revoked_at"] is not None


async def test_a_key_revoked_by_another_process_stops_within_five_seconds(house: House) -> None:
    doomed = await house.new_key()
    assert (await house.call("GET", "/v1/boxes", key=doomed)).status == 200
    elsewhere = Access(house.services.writer, house.services.reads)
    row = next(row for row in await house.rows("api_key") if row["hint"] == doomed[-4:])
    await elsewhere.revoke_key(house.merchant, "test", row["id"])
    assert (await house.call("GET", "/v1/boxes", key=doomed)).status == 200, "believed for a moment"
    house.services.monotonic_ahead_s = KEY_TRUSTED_S
    assert KEY_TRUSTED_S < 5
    assert (await house.call("GET", "/v1/boxes", key=doomed)).status == 401


async def test_while_one_caller_looks_a_key_up_again_the_others_need_not_wait(house: House) -> None:
    await house.services.access.grant_of(house.key)
    house.services.monotonic_ahead_s = KEY_FRESH_S
    grants = await asyncio.gather(*(house.services.access.grant_of(house.key) for _ in range(20)))
    assert {grant.merchant_id for grant in grants if grant} == {house.merchant}
    assert None not in grants


# --- modes and merchants ----------------------------------------------------------------------------------------------


async def _happen(house: House, merchant_id: str, mode: str, *types: str) -> None:
    def decide(_: View, changes: Changes) -> dict[str, str]:
        for type_ in types:
            changes.emit(type_, "pay_1", '{"amount":"20.000000001"}')
        return {}

    await house.services.writer.submit(Unit(merchant_id, mode, None, (), decide))


async def test_test_and_live_never_see_each_other(house: House) -> None:
    live = await house.new_key("live")
    await _happen(house, house.merchant, "test", "payment.settled")
    await _happen(house, house.merchant, "live", "payment.failed", "payment.settled")
    in_test = (await house.call("GET", "/v1/events")).json["data"]
    in_live = (await house.call("GET", "/v1/events", key=live)).json["data"]
    assert [(one["type"], one["livemode"]) for one in in_test] == [("payment.settled", False)]
    assert [(one["type"], one["livemode"]) for one in in_live] == [("payment.failed", True), ("payment.settled", True)]
    foreign = f"/v1/events/{in_live[0]['id']}"
    assert (await house.call("GET", foreign)).status == 404
    assert (await house.call("GET", foreign, key=live)).json["id"] == in_live[0]["id"]
    assert (await house.call("GET", f"/v1/events?after={in_live[0]['id']}")).status == 404


async def test_merchants_never_see_each_other(house: House) -> None:
    await _happen(house, "mer_other", "test", "payment.settled")
    assert (await house.call("GET", "/v1/events")).json == {"data": [], "next_cursor": None}


# --- events -----------------------------------------------------------------------------------------------------------


async def test_an_event_has_the_envelope_of_the_webhooks(house: House) -> None:
    await _happen(house, house.merchant, "test", "wallet.credited")
    (event,) = (await house.call("GET", "/v1/events")).json["data"]
    (row,) = await house.rows("event")
    assert event == {
        "id": row["id"],
        "type": "wallet.credited",
        "created_at": event["created_at"],
        "livemode": False,
        "merchant": house.merchant,
        "object_id": "pay_1",
        "sequence": 1,
        "data": {"object": {"amount": "20.000000001"}},
    }
    assert event["created_at"].endswith("Z")
    assert (await house.call("GET", f"/v1/events/{row['id']}")).json == event


async def test_events_are_read_page_by_page_without_a_gap(house: House) -> None:
    await _happen(house, house.merchant, "test", *["payment.settled", "payment.failed"] * 13)
    seen, cursor = [], "0"
    while cursor is not None:
        page = (await house.call("GET", f"/v1/events?limit=10&after={cursor}")).json
        seen += [one["sequence"] for one in page["data"]]
        cursor = page["next_cursor"]
    assert seen == list(range(1, 27))
    assert len((await house.call("GET", "/v1/events")).json["data"]) == 20
    failed = (await house.call("GET", "/v1/events?type=payment.failed&limit=100")).json
    assert [one["sequence"] for one in failed["data"]] == list(range(2, 27, 2))
    third = (await house.call("GET", "/v1/events?after=2&limit=1")).json["data"][0]
    behind = (await house.call("GET", f"/v1/events?after={third['id']}&limit=1")).json["data"][0]
    assert (third["sequence"], behind["sequence"]) == (3, 4)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "after=-1", "after=pay_1", "type=no.such"])
async def test_a_wrong_page_is_refused(small_house: House, query: str) -> None:
    assert (await small_house.call("GET", f"/v1/events?{query}")).status == 422


# --- the platform -----------------------------------------------------------------------------------------------------


async def test_the_admin_token_makes_merchants_and_their_first_key(house: House) -> None:
    made = await house.post("/v1/merchants", {"name": "Bolt AI"}, "m1", key=ADMIN_TOKEN)
    assert made.status == 201
    merchant = made.json
    assert (merchant["name"], merchant["id"][:4]) == ("Bolt AI", "mer_")
    assert (await house.post("/v1/merchants", {"name": "Bolt AI"}, "m1", key=ADMIN_TOKEN)).raw == made.raw
    assert (await house.call("GET", f"/v1/merchants/{merchant['id']}", key=ADMIN_TOKEN)).json == merchant
    newest = (await house.call("GET", "/v1/merchants?limit=1", key=ADMIN_TOKEN)).json
    assert (newest["data"], newest["next_cursor"]) == ([merchant], merchant["id"])
    older = (await house.call("GET", f"/v1/merchants?after={merchant['id']}", key=ADMIN_TOKEN)).json
    assert [one["id"] for one in older["data"]] == [house.merchant]
    wanted = {"merchant": merchant["id"], "mode": "live", "scopes": ["read", "keys"]}
    key = (await house.post("/v1/keys", wanted, key=ADMIN_TOKEN)).json
    assert key["secret"].startswith("sk_live_")
    assert (key["merchant"], key["mode"], key["scopes"]) == (merchant["id"], "live", ["read", "keys"])
    looked = await house.call("GET", "/v1/boxes", key=key["secret"])
    assert looked.json["merchant"] == merchant["id"]


async def test_the_admin_token_opens_no_merchants_endpoint(house: House) -> None:
    answer = await house.call("GET", "/v1/wallets/wal_1", key=ADMIN_TOKEN)
    assert (answer.status, answer.json["code"]) == (403, "scope_missing")


async def test_a_merchants_key_is_not_the_platforms(house: House) -> None:
    mighty = await house.new_key("test", "read", "write", "keys")
    for method, path in (("GET", "/v1/merchants"), ("POST", "/v1/merchants")):
        assert (await house.call(method, path, key=mighty)).status == 403


def test_an_absent_admin_token_is_nobodys() -> None:
    assert is_admin_token(ADMIN_TOKEN, ADMIN_TOKEN)
    assert not is_admin_token(ADMIN_TOKEN, ADMIN_TOKEN + "x")
    assert not is_admin_token("", "")
    assert not is_admin_token("", "x")


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({}, 422, "/merchant"),
        ({"merchant": "mer_none"}, 422, "/mode"),
        ({"merchant": "mer_none", "mode": "test"}, 404, "/merchant"),
        ({"merchant": "mer_none", "mode": "beta"}, 422, "/mode"),
        ({"scopes": []}, 422, "/scopes"),
        ({"scopes": ["platform"]}, 422, "/scopes/0"),
    ],
)
async def test_a_key_for_nobody_is_refused(small_house: House, body: object, status: int, pointer: str) -> None:
    answer = await small_house.post("/v1/keys", body, key=ADMIN_TOKEN)
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (status, pointer)


async def test_a_key_makes_keys_of_its_own_merchant_mode_and_scopes_only(house: House) -> None:
    keeper = await house.new_key("test", "read", "keys")
    made = (await house.post("/v1/keys", {"scopes": ["read"]}, key=keeper)).json
    assert (made["merchant"], made["mode"], made["scopes"]) == (house.merchant, "test", ["read"])
    for body, code in (({"scopes": ["write"]}, "scope_beyond_own"), ({"scopes": ["read"], "mode": "live"}, "other_mode"),
                       ({"scopes": ["read"], "merchant": "mer_other"}, "other_merchant")):  # fmt: skip
        answer = await house.post("/v1/keys", body, key=keeper)
        assert (answer.status, answer.json["code"]) == (403, code)
    keys = (await house.call("GET", "/v1/keys", key=keeper)).json["data"]
    assert keys[0]["id"] == made["id"]
    assert len(keys) == 3
    assert "hash" not in repr(keys)
    revoked = await house.call("DELETE", f"/v1/keys/{made['id']}", key=keeper)
    assert (revoked.status, revoked.json["revoked_at"] is None) == (200, False)
    assert (await house.call("GET", "/v1/boxes", key=made["secret"])).status == 401


async def test_a_live_key_is_out_of_reach_of_a_test_key(house: House) -> None:
    keeper = await house.new_key("test", "keys")
    await house.new_key("live")
    live = next(row for row in await house.rows("api_key") if row["mode"] == "live")
    assert (await house.call("DELETE", f"/v1/keys/{live['id']}", key=keeper)).status == 404
    assert (await house.call("DELETE", f"/v1/keys/{live['id']}?mode=live", key=keeper)).status == 403


async def test_a_keys_secret_is_shown_once_and_stored_nowhere(house: House) -> None:
    keeper = await house.new_key("test", "read", "keys")
    first = await house.post("/v1/keys", {"scopes": ["read"]}, "k1", key=keeper)
    again = await house.post("/v1/keys", {"scopes": ["read"]}, "k1", key=keeper)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json == {**first.json, "secret": None}
    for table in COLUMNS:
        assert first.json["secret"] not in repr(await house.rows(table)), table


# --- the page of a session --------------------------------------------------------------------------------------------


async def _session(house: House, session_id: str) -> None:
    row = dict.fromkeys(COLUMNS["checkout_session"], "") | DEFAULTS["checkout_session"] | {
        "merchant_id": house.merchant, "id": session_id, "mode": "test", "status": "open", "amount_units": 1,
        "expires_us": 1, "created_us": 1,
    }  # fmt: skip

    def decide(_: View, changes: Changes) -> dict[str, str]:
        changes.insert("checkout_session", **row)
        return {}

    await house.services.writer.submit(Unit(house.merchant, "test", None, (), decide))


async def test_a_client_secret_opens_its_own_session_and_nothing_else(house: House) -> None:
    server = house.services.secrets.server
    await _session(house, "cs_1")
    await _session(house, "cs_2")
    secret = client_secret(server, "cs_1")
    opened = await house.call("GET", "/v1/checkout/sessions/cs_1/page", key=secret)
    assert opened.json == {"merchant": house.merchant, "mode": "test", "by": "cs_1"}
    for path, token, status in (
        ("/v1/checkout/sessions/cs_2/page", secret, 401),
        ("/v1/checkout/sessions/cs_1/page", secret[:-1] + "x", 401),
        ("/v1/checkout/sessions/cs_1/page", client_secret(b"another server", "cs_1"), 401),
        ("/v1/checkout/sessions/cs_3/page", client_secret(server, "cs_3"), 401),
        ("/v1/events", secret, 403),
        ("/v1/merchants", secret, 403),
    ):
        assert (await house.call("GET", path, key=token)).status == status, path
    by_key = await house.call("GET", "/v1/checkout/sessions/cs_1/page")
    assert by_key.json["by"].startswith("key_")


async def test_a_service_without_admin_token_has_no_platform(small_house: House) -> None:
    small_house.services.secrets = replace(TestSecrets(), admin_token="")
    for token in (ADMIN_TOKEN, ""):
        assert (await small_house.call("GET", "/v1/merchants", key=token)).status == 401


# --- operators --------------------------------------------------------------------------------------------------------


async def test_an_operator_comes_in_with_the_right_password_only(house: House) -> None:
    access = house.services.access
    made = await access.create_operator("ops", PASSWORD, "operator")
    assert await access.verify_operator("ops", PASSWORD) == made
    assert await access.verify_operator("ops", PASSWORD + "x") is None
    assert await access.verify_operator("nobody", PASSWORD) is None
    assert await access.verify_operator("ops", "x" * 10_000) is None
    with pytest.raises(Conflict, match="operator_exists"):
        await access.create_operator("ops", PASSWORD, "viewer")
    (row,) = await house.rows("operator")
    assert PASSWORD not in repr(row)


async def test_an_operator_needs_a_role_and_a_long_password(small_house: House) -> None:
    with pytest.raises(Invalid, match="role_is_unknown"):
        await small_house.services.access.create_operator("ops", PASSWORD, "root")
    with pytest.raises(Invalid, match="password_has_a_bad_length"):
        await small_house.services.access.create_operator("ops", "short", "admin")


def test_two_hashes_of_one_password_differ_and_both_fit() -> None:
    one, other = hash_password(PASSWORD), hash_password(PASSWORD)
    assert one != other
    assert is_password(one, PASSWORD)
    assert is_password(other, PASSWORD)
    assert not is_password(one, PASSWORD.upper())


async def test_a_key_without_merchant_or_scope_cannot_be_made(small_house: House) -> None:
    access = small_house.services.access
    with pytest.raises(NotFound):
        await access.create_key("mer_none", "test")
    for mode, scopes in (("beta", ["read"]), ("test", []), ("test", ["read", "platform"])):
        with pytest.raises(Invalid):
            await access.create_key(small_house.merchant, mode, scopes)
