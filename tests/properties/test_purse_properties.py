"""Whatever is done to a wallet, in whatever order: it says the same as a model that thinks in single units."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import Refusal
from orchestrator.ledger.purse import Allocation, Charged, Purse
from orchestrator.ledger.shown import usd_text
from rates.money import UNITS_MAX, WALLET_USD, Money
from tests.unit.ledger.desk import NOW_US, Desk

KINDS = ("promotional", "compensation", "paid", "provisional")
UNITS = st.integers(1, 40)
LOT = st.tuples(
    st.just("lot"), st.integers(10, 60), st.sampled_from(KINDS), st.none() | st.integers(1, 30), st.integers(-1, 1)
)
STEPS = st.one_of(
    LOT,
    st.tuples(st.just("charge"), st.lists(st.integers(0, 20), max_size=4), st.booleans()),
    st.tuples(st.just("hold"), UNITS),
    st.tuples(st.just("hold"), UNITS),
    st.tuples(st.just("release"), st.integers(0, 9), st.integers(0, 30), st.integers(0, 30)),
    st.tuples(st.just("capture"), st.integers(0, 9), st.integers(0, 60)),
    st.tuples(st.just("wait"), st.integers(1, 9)),
)
STORIES = st.tuples(st.lists(LOT, min_size=1, max_size=4), st.lists(STEPS, min_size=4, max_size=25)).map(
    lambda parts: [*parts[0], *parts[1]]
)
POLICIES = st.sampled_from([("hard", 0), ("grace", 25), ("debt", 0)])


class Model:
    """Every unit of credit is one item of a list; taking is popping. Slow, and nothing to get wrong."""

    def __init__(self, policy: tuple[str, int]) -> None:
        self.policy = policy
        self.credit: list[tuple[Any, ...]] = []
        """(place in the order of consumption, lot, kind, expiry) for each unit that is free or expired."""
        self.holds: list[tuple[list[tuple[Any, ...]], int]] = []
        self.used: Counter[str] = Counter()
        self.debt = 0
        self.now_us = NOW_US

    def free(self) -> list[tuple[Any, ...]]:
        return sorted(unit for unit in self.credit if unit[3] is None or unit[3] > self.now_us)

    def spendable(self) -> float:
        kind, limit = self.policy
        room = {"hard": 0, "grace": max(0, limit - self.debt), "debt": float("inf")}[kind]
        return len(self.free()) + room - sum(uncovered for _, uncovered in self.holds)

    def available(self) -> float:
        return min(len(self.free()), max(0, self.spendable()))

    def take(self, units: int, kinds: tuple[str, ...] = KINDS) -> list[tuple[Any, ...]]:
        taken = [unit for unit in self.free() if unit[2] in kinds][:units]
        for unit in taken:
            self.credit.remove(unit)
        return taken

    def use(self, units: int) -> None:
        taken = self.take(units)
        self.used.update(unit[2] for unit in taken)
        self.debt += units - len(taken)


@given(policy=POLICIES, steps=STORIES)
def test_a_purse_says_the_same_as_a_model_of_single_units(policy: tuple[str, int], steps: list[Any]) -> None:
    desk, model = Desk(overdraft=policy[0], overdraft_units=policy[1]), Model(policy)
    allocations: list[Allocation] = []
    for number, step in enumerate(steps):
        match step:
            case ("lot", units, kind, lives, priority):
                _credit(desk, model, f"lot_{number:02}", units, kind, lives, priority)
            case ("charge", amounts, must):
                _charge(desk, model, amounts, must=must)
            case ("hold", units):
                possible = units <= model.spendable()
                try:
                    allocations.append(desk.spend(partial(Purse.hold, units=units)))
                    assert possible
                except Refusal:
                    assert not possible
                    continue
                parts = model.take(units, KINDS[:3])
                model.holds.append((parts, units - len(parts)))
            case ("release", which, before, after) if allocations:
                allocation, (parts, _) = allocations.pop(which % len(allocations)), _pop(model, which)
                left = desk.spend(partial(_give_back, allocation=allocation, before=before, after=after))
                model.use(before)
                model.credit += parts
                model.use(after)
                assert left == model.available()
            case ("capture", which, units) if allocations:
                allocation, (parts, _) = allocations.pop(which % len(allocations)), _pop(model, which)
                charged = desk.spend(partial(Purse.capture, allocation=allocation, units=units))
                assert charged.units == units == sum(charged[1:])
                model.used.update(unit[2] for unit in parts[:units])
                model.credit += parts[units:]
                model.use(max(0, units - len(parts)))
            case ("wait", microseconds):
                desk.now_us = model.now_us = model.now_us + microseconds
        _agree(desk, model)


def _pop(model: Model, which: int) -> tuple[list[tuple[Any, ...]], int]:
    return model.holds.pop(which % len(model.holds))


def _give_back(purse: Purse, allocation: Allocation, before: int, after: int) -> int:
    """Spend on both sides of a release, in one purse."""
    purse.charge(before, must=True)
    purse.release(allocation)
    purse.charge(after, must=True)
    return purse.available


def _credit(desk: Desk, model: Model, id_: str, units: int, kind: str, lives: int | None, priority: int) -> None:
    expires_us = None if lives is None else model.now_us + lives
    desk.lot(id_, units, kind, expires_us=expires_us, priority=priority, created_us=model.now_us)
    rank = ["promotional", "paid", "provisional"].index("promotional" if kind == "compensation" else kind)
    place = (rank, expires_us or 2**63, priority, id_) if rank == 0 else (rank, model.now_us, 0, id_)
    model.credit += [(place, id_, kind, expires_us)] * units


def _charge(desk: Desk, model: Model, amounts: list[int], *, must: bool) -> None:
    """Charge several amounts on one purse: what is refused changes nothing, the others go on."""

    def work(purse: Purse) -> list[Charged | None]:
        done: list[Charged | None] = []
        for units in amounts:
            try:
                done.append(purse.charge(units, must=must))
            except Refusal:
                done.append(None)
        return done

    for units, charged in zip(amounts, desk.spend(work, merge=True), strict=True):
        possible = must or units <= model.spendable() or (units == 0 and model.spendable() >= 0)
        assert (charged is not None) == possible
        if charged is not None:
            assert charged.units == units == sum(charged[1:])
            model.use(units)


def _agree(desk: Desk, model: Model) -> None:
    lots: Counter[str] = Counter(unit[1] for unit in model.credit)
    held: Counter[str] = Counter(unit[1] for parts, _ in model.holds for unit in parts)
    assert {id_: left for id_, left in desk.lots().items() if left != (0, 0)} == {
        id_: (lots[id_] + held[id_], held[id_]) for id_ in lots | held
    }
    kinds: Counter[str] = Counter(unit[2] for unit in model.credit)
    holds: Counter[str] = Counter(unit[2] for parts, _ in model.holds for unit in parts)
    assert {code: desk.balance(code) for code in BOOKS} == {
        "wallet:paid": -kinds["paid"],
        "wallet:promo": -kinds["promotional"] - kinds["compensation"],
        "wallet:provisional": -kinds["provisional"],
        "wallet:held_paid": -holds["paid"],
        "wallet:held_promo": -holds["promotional"] - holds["compensation"],
        "wallet:debt": model.debt,
    }
    assert desk.balance("merchant:pending", "") == -model.used["paid"]
    assert desk.balance("promo:funding", "") == -model.used["promotional"] - model.used["compensation"]
    assert desk.balance("merchant:unfunded", "") == -model.used["provisional"] - model.debt
    uncovered = sum(uncovered for _, uncovered in model.holds)
    assert desk.wallet["held_uncovered_units"] == uncovered
    assert desk.spend(lambda purse: purse.available) == model.available()
    assert all(row["open"] == (row["remaining_units"] > 0) for row in desk.tables["lot"].values())


BOOKS = (
    "wallet:paid", "wallet:promo", "wallet:provisional", "wallet:held_paid", "wallet:held_promo", "wallet:debt",
)  # fmt: skip


@given(units=st.integers(0, UNITS_MAX))
def test_an_amount_is_written_as_money_writes_it(units: int) -> None:
    assert usd_text(units) == Money(units, WALLET_USD).decimal(2)
