"""Every method that the loaded rail accounts offer, in the order of config.yaml."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

from adapters.base import Capability, Mode, RailAdapter
from orchestrator.routing.facts import token_word

Supports = Callable[[str, str, str], bool]
"""(rail, account, currency) -> the rail's own exponent table has the currency. Must not change while it is in use."""

OptionKey = tuple[str, str, str]
"""rail, account, method."""


@dataclass(frozen=True, slots=True)
class RailOption:
    """One method at one account of one rail."""

    rail: str
    account: str
    mode: Mode
    capability: Capability
    """Its countries are those of the method that the account is for."""
    merchants: frozenset[str] | None = None
    """None = the account is for all."""

    @property
    def method(self) -> str:
        return self.capability.method

    @property
    def key(self) -> OptionKey:
        return (self.rail, self.account, self.capability.method)


@dataclass(frozen=True, slots=True)
class AccountLimits:
    """For whom a rail account is, by its configuration; None = for all."""

    countries: frozenset[str] | None = None
    merchants: frozenset[str] | None = None

    def of(self, capability: Capability) -> Capability:
        """Return what the account offers of a method."""
        if self.countries is None:
            return capability
        both = self.countries if capability.countries is None else self.countries & capability.countries
        return replace(capability, countries=both)


_UNLIMITED: Final = AccountLimits()


@dataclass(frozen=True)
class Catalogue:
    """All options; the first of two that serve alike is preferred. Make a new one when a rail is added."""

    options: tuple[RailOption, ...]
    switched_off: frozenset[OptionKey] = frozenset()
    """What accounts of the configuration would offer that are not enabled."""

    @classmethod
    def of(
        cls,
        adapters: Iterable[RailAdapter],
        switched_off: frozenset[OptionKey] = frozenset(),
        limits: Mapping[tuple[str, str], AccountLimits] = MappingProxyType({}),
    ) -> Catalogue:
        """Return what these adapters offer, in their order."""
        options: list[RailOption] = []
        for adapter in adapters:
            account = adapter.account
            limit = limits.get((account.rail, account.account), _UNLIMITED)
            options += [
                RailOption(account.rail, account.account, account.mode, limit.of(capability), limit.merchants)
                for capability in adapter.capabilities
            ]
        return cls(tuple(options), switched_off)

    def portable(self) -> Catalogue:
        """Return the same catalogue in a form that another process can be handed."""
        plain = (
            replace(one, capability=replace(
                one.capability, amount_min=dict(one.capability.amount_min), amount_max=dict(one.capability.amount_max)
            ))
            for one in self.options
        )  # fmt: skip
        return Catalogue(tuple(plain), self.switched_off)

    @cached_property
    def by_method(self) -> Mapping[str, tuple[int, ...]]:
        """Method -> indexes of the options that offer it."""
        found: dict[str, list[int]] = {}
        for index, option in enumerate(self.options):
            found.setdefault(option.method, []).append(index)
        return {method: tuple(indexes) for method, indexes in found.items()}

    @cached_property
    def memo(self) -> dict[Any, Any]:
        """What the engine worked out from this catalogue alone; never part of what it is."""
        return {}

    @cached_property
    def _for_some(self) -> tuple[tuple[int, frozenset[str]], ...]:
        """Options that are for some merchants only."""
        return tuple((at, one.merchants) for at, one in enumerate(self.options) if one.merchants is not None)

    def not_for(self, merchant: str) -> tuple[int, ...]:
        """Return the indexes of the options that this merchant is not offered."""
        return tuple(at for at, merchants in self._for_some if merchant not in merchants)

    def expand(self, word: str) -> tuple[str, ...]:
        """Return the methods that a word stands for: itself, or every method of a token; () = none is known."""
        if word in self.by_method:
            return (word,)
        return tuple(method for method in self.by_method if token_word(method) == word)

    def words(self) -> list[str]:
        """Return every word that a rule may use for a method."""
        tokens = {token_word(method) for method in self.by_method} - {None}
        return [*self.by_method, *sorted(str(token) for token in tokens)]

    def find(self, method: str, rail: str | None = None, account: str | None = None) -> tuple[int, ...]:
        """Return the indexes of the options for one method (not a token word), narrowed to a rail or account."""
        return tuple(
            index
            for index in self.by_method.get(method, ())
            if rail in (None, self.options[index].rail) and account in (None, self.options[index].account)
        )


def supports_of(adapters: Iterable[RailAdapter]) -> Supports:
    """Return the question whether a rail account can charge a currency, asked of the adapters themselves."""
    by_account = {(adapter.account.rail, adapter.account.account): adapter for adapter in adapters}

    def supports(rail: str, account: str, currency: str) -> bool:
        adapter = by_account.get((rail, account))
        return adapter is not None and adapter.supports_currency(currency)

    return supports
