from __future__ import annotations

import time

import pytest
from eth_account import Account
from eth_account.hdaccount import seed_from_mnemonic
from tronpy.keys import PrivateKey

from adapters.kit.chain.addresses import (
    DepositAddresses,
    NotAnAccountKey,
    NotAnAddress,
    read_evm,
    read_tron,
    show_evm,
    show_tron,
)
from tests.adapters.chains.bench import PUBLISHED_WORDS, account_xpub

BIP32 = pytest.importorskip("bip32", reason="needs the package bip32, which Python 3.13 cannot build").BIP32

FIRST_EVM = "0x9858EfFD232B4033E47d90003D41EC34EcaEda94"
FIRST_TRON = "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH"


def test_the_first_evm_address_is_the_published_one() -> None:
    assert show_evm(DepositAddresses(account_xpub("evm")).derive(0)) == FIRST_EVM


def test_the_first_tron_address_is_the_published_one() -> None:
    assert show_tron(DepositAddresses(account_xpub("tron")).derive(0)) == FIRST_TRON


@pytest.mark.parametrize("index", [0, 1, 7, 1000, 2**31 - 1])
def test_the_private_path_of_another_package_leads_to_the_same_addresses(index: int) -> None:
    root = BIP32.from_seed(seed_from_mnemonic(PUBLISHED_WORDS, ""))
    evm_key = root.get_privkey_from_path(f"m/44'/60'/0'/0/{index}")
    tron_key = root.get_privkey_from_path(f"m/44'/195'/0'/0/{index}")
    evm_address = DepositAddresses(account_xpub("evm")).derive(index)
    tron_address = DepositAddresses(account_xpub("tron")).derive(index)
    assert show_evm(evm_address) == Account.from_key(evm_key).address
    assert show_tron(tron_address) == PrivateKey(tron_key).public_key.to_base58check_address()


def test_an_xprv_is_refused_and_not_shown() -> None:
    secret = BIP32.from_seed(bytes(32)).get_xpriv_from_path("m/44'/60'/0'")
    with pytest.raises(NotAnAccountKey) as refused:
        DepositAddresses(secret)
    assert secret not in str(refused.value)


@pytest.mark.parametrize("path", ["m", "m/44'", "m/44'/60'", "m/44'/60'/0'/0", "m/44'/60'/0"])
def test_a_key_of_another_depth_or_a_soft_account_is_refused(path: str) -> None:
    with pytest.raises(NotAnAccountKey):
        DepositAddresses(BIP32.from_seed(bytes(32)).get_xpub_from_path(path))


@pytest.mark.parametrize("damage", [lambda x: x[:-1] + "1", lambda x: x[:50], lambda _: "xpub", lambda _: "xpub0OIl"])
def test_a_damaged_xpub_is_refused(damage: object) -> None:
    assert callable(damage)
    with pytest.raises(NotAnAccountKey):
        DepositAddresses(damage(account_xpub("evm")))


@pytest.mark.parametrize("index", [-1, 2**31])
def test_an_index_outside_the_receiving_chain_is_refused(index: int) -> None:
    with pytest.raises(ValueError, match="address index"):
        DepositAddresses(account_xpub("evm")).derive(index)


@pytest.mark.parametrize("text", [FIRST_EVM, FIRST_EVM.lower(), "0x" + FIRST_EVM[2:].upper()])
def test_an_evm_address_is_read_with_a_right_checksum_or_none(text: str) -> None:
    assert show_evm(read_evm(text)) == FIRST_EVM


@pytest.mark.parametrize(
    "text", ["", "0x", FIRST_EVM[:-1], FIRST_EVM + "0", FIRST_EVM.replace("Ef", "eF"), FIRST_TRON, FIRST_EVM[2:]]
)
def test_a_mistyped_evm_address_is_refused(text: str) -> None:
    with pytest.raises(NotAnAddress):
        read_evm(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        FIRST_TRON[:-1],
        FIRST_TRON[:-1] + "J",
        "T" + "0" * 33,
        FIRST_EVM,
        "41" + "00" * 20,
        "TZJozAg1ruapycCicgz31GxvYJ1G1qELV7",  # a right checksum, another network (0x42)
    ],
)
def test_a_mistyped_tron_address_is_refused(text: str) -> None:
    with pytest.raises(NotAnAddress):
        read_tron(text)


@pytest.mark.parametrize("show", [show_evm, show_tron])
def test_only_twenty_bytes_are_an_address(show: object) -> None:
    assert callable(show)
    with pytest.raises(NotAnAddress):
        show(bytes(21))


def test_a_thousand_addresses_are_derived_within_a_second() -> None:
    addresses = DepositAddresses(account_xpub("tron"))
    addresses.derive(0)
    best = 0.0
    for _ in range(3):  # the machine is shared: the best of three says what the code can do
        started = time.perf_counter()
        made = {addresses.derive(index) for index in range(300)}
        best = max(best, len(made) / (time.perf_counter() - started))
    assert best >= 1000
