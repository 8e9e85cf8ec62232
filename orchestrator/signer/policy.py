"""What the signer may sign, in its own file. What is not named there is not signed."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from adapters.kit.chain.addresses import read_evm, read_tron
from orchestrator.config_source import check, load_document
from orchestrator.private_files import read_trusted
from orchestrator.signer.keys import Family


def _amount(value: object) -> object:
    """Take "0.01" as exact; a number without quotes was read as Decimal or int."""
    return Decimal(value) if isinstance(value, str | int) else value


Amount = Annotated[Decimal, BeforeValidator(_amount), Field(ge=0, le=10**15, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TokenPolicy(_Part):
    """Limits of one token on one chain, in the token (``"2000"``), per UTC day where it says ``day``."""

    contract: str
    decimals: Annotated[int, Field(ge=0, le=36)]
    sweep_day_max: Amount
    """To ``destinations``."""
    sweep_approval_above: Amount
    refund_max: Amount = Decimal(0)
    """To anybody else, from the operating wallet, at a time; 0: no refunds."""
    refund_day_max: Amount = Decimal(0)
    refund_approval_above: Amount = Decimal(0)


class ChainPolicy(_Part):
    family: Family
    coin_decimals: Annotated[int, Field(ge=0, le=18)]
    fee_max: Amount
    """What one transaction may cost, in the chain's coin."""
    fee_day_max: Amount
    fuel_max: Amount
    """Coins to one of our deposit addresses, so that it can pay a fee, at a time."""
    fuel_day_max: Amount
    destinations: tuple[str, ...]
    """Where swept tokens may go."""
    tokens: dict[str, TokenPolicy]

    @model_validator(mode="after")
    def _addresses_are_real(self) -> ChainPolicy:
        for text in (*self.destinations, *(token.contract for token in self.tokens.values())):
            self.read_address(text)
        return self

    def read_address(self, text: str) -> bytes:
        """Raises ValueError."""
        return read_evm(text) if self.family == "evm" else read_tron(text)

    def is_destination(self, address: bytes) -> bool:
        return any(self.read_address(text) == address for text in self.destinations)

    def token(self, contract: bytes | None) -> tuple[str, TokenPolicy] | None:
        """Return name and limits of a contract, where it is one that is named."""
        for name, token in self.tokens.items():
            if self.read_address(token.contract) == contract:
                return name, token
        return None


class Policy(_Part):
    """The signer's whole configuration."""

    keys: Path
    socket: Path
    journal: Path
    """What was signed: an SQLite file of the signer's own."""
    socket_mode: Annotated[str, Field(pattern=r"^0?[0-7]{3}$")] = "600"
    """660 where the server runs as another user of the same group."""
    approvers: dict[str, str] = {}
    """Names and EVM addresses of people whose signature counts as an approval."""
    approvals_needed: Annotated[int, Field(ge=2, le=5)] = 2
    chains: Annotated[dict[str, ChainPolicy], Field(min_length=1)]
    """By CAIP-2."""

    @model_validator(mode="before")
    @classmethod
    def _paths_are_whole(cls, value: Any) -> Any:
        if isinstance(value, dict):
            for name in ("keys", "socket", "journal"):
                if isinstance(value.get(name), str) and not value[name].startswith("/"):
                    raise ValueError(f"{name} is an absolute path")
        return value

    @model_validator(mode="after")
    def _approvers_are_several(self) -> Policy:
        addresses = [read_evm(text) for text in self.approvers.values()]
        if len(set(addresses)) != len(addresses):
            raise ValueError("two approvers have the same address")
        return self

    @classmethod
    def read(cls, path: Path) -> Policy:
        """Raises FileNotSafe, ConfigInvalid."""
        return check(cls, load_document(read_trusted(path), path.name))


def raw(amount: Decimal, decimals: int) -> int:
    """Return an amount in the chain's own units, rounded down: a limit is never widened."""
    return int(amount.scaleb(decimals))
