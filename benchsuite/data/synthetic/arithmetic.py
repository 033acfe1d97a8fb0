"""`arithmetic`: word problems of two to four steps in the form of GSM8K (Cobbe et al. 2021).

An answer has one line per step with its calculator annotation, `Then there are <<12+5=17>>17.`, and ends in `#### N`.
Numbers stay below 100 and products within the times table, so that what separates models is keeping track of the
story rather than long multiplication.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from benchsuite.data.examples import Problem, Split
from benchsuite.data.synthetic import words
from benchsuite.data.synthetic.splits import draw_split

SIZES: dict[Split, int] = {"train": 60_000, "validation": 200, "test": 250}
LARGEST = 99
LARGEST_FACTOR = 12  # of a product, and of what a division undoes
LONGEST = 150  # characters of a question
SHOTS = 5
_SHOTS_AMONG = 1_000  # the first problems drawn

_ITEMS = words.word_list("""
apples badges balls beads bells books bottles bricks buttons cakes candles cards carrots chairs coins cookies crayons
cups eggs flags flowers hats keys kites lamps leaves lemons letters maps marbles melons mugs nails nuts oranges
peaches pears pencils pens photos pies plates plums postcards ribbons rings rocks roses scarves seeds shells shirts
socks spoons stamps stars stickers stones tickets tiles tomatoes toys tulips vases
""")
_PACKS = words.word_list("""
bags baskets boxes bundles cartons cases crates jars packs piles rows sacks shelves stacks trays tubs
""")
_MAKES = words.word_list(
    "carries checks cleans collects counts finds loads makes moves packs paints prepares sells sorts"
)


class _UnfitError(Exception):
    """A number left 1 to LARGEST or the question became too long: the draw is thrown away."""


@dataclass
class _Tale:
    """A problem being told: the sentences of the question and the steps of the answer."""

    rng: random.Random
    question: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    last: int = 0

    def tell(self, *ways: str) -> None:
        """Adds one of these ways to say a thing to the question."""
        self.question.append(self.rng.choice(ways))

    def step(self, left: int, operator: str, right: int, before: str, after: str = "") -> int:
        """Adds the answer line `before <<left operator right=result>>result after.`"""
        result = {"+": left + right, "-": left - right, "*": left * right, "/": left // right}[operator]
        product = {"*": (left, right), "/": (result, right)}.get(operator, (0, 0))
        if not 0 < result <= LARGEST or (operator == "/" and left % right) or max(product) > LARGEST_FACTOR:
            raise _UnfitError
        self.steps.append(f"{before} <<{left}{operator}{right}={result}>>{result}{after}.")
        self.last = result
        return result

    def ask(self, *ways: str) -> Problem:
        """Ends the question; the last step's result is the answer."""
        self.tell(*ways)
        question = " ".join(self.question)
        if len(question) > LONGEST:
            raise _UnfitError
        return Problem(question, "\n".join((*self.steps, f"#### {self.last}")))


def _names(rng: random.Random) -> tuple[str, str, str, str]:
    """Two people and the first one's pronoun, small and capital."""
    woman = rng.random() < 0.5
    first, second = rng.choice(words.WOMEN if woman else words.MEN), rng.choice(words.MEN if woman else words.WOMEN)
    return first, second, *(("she", "She") if woman else ("he", "He"))


def _change(tale: _Tale, who: str, pronoun: str, have: int, items: str) -> int:
    """One thing that happens to what somebody has."""
    rng, capital = tale.rng, pronoun.capitalize()
    kind = rng.randrange(6)
    few = rng.randrange(2, 13)
    if kind <= 1:
        tale.tell(
            f"{capital} gives away {few}.",
            f"{capital} loses {few} of them.",
            f"{capital} sells {few} {items}.",
            f"Then {pronoun} uses {few} of the {items}.",
            f"{few} of the {items} are broken.",
        )
        return tale.step(have, "-", few, "Then there are")
    if kind <= 3:
        tale.tell(
            f"{capital} finds {few} more.",
            f"{capital} buys {few} more {items}.",
            f"A friend gives {who} {few} more.",
            f"Then {pronoun} gets {few} {items} as a gift.",
        )
        return tale.step(have, "+", few, "Then there are")
    if kind == 4:
        tale.tell(f"Then {pronoun} doubles the number of {items}.", f"Next day {pronoun} doubles them.")
        return tale.step(have, "+", have, "Then there are")
    tale.tell(f"{capital} gives half of them away.", f"{capital} sells half of the {items}.")
    return tale.step(have, "/", 2, "Then there are")


def _begin(tale: _Tale, who: str, items: str) -> int:
    """How somebody comes to have things: always one step."""
    rng = tale.rng
    if rng.random() < 0.5:
        packs, each, pack = rng.randrange(2, 10), rng.randrange(2, 10), rng.choice(_PACKS)
        tale.tell(
            f"{who} has {packs} {pack} of {each} {items}.",
            f"{who} buys {packs} {pack} with {each} {items} in each.",
            f"There are {packs} {pack} of {items}, {each} in each, and all belong to {who}.",
        )
        return tale.step(packs, "*", each, "There are")
    first, second = rng.randrange(3, 40), rng.randrange(2, 20)
    one = rng.choice(words.COLOURS)
    two = rng.choice([colour for colour in words.COLOURS if colour != one])
    tale.tell(
        f"{who} has {first} {one} {items} and {second} {two} {items}.",
        f"{who} has {first} {items} and buys {second} more.",
        f"{who} finds {first} {items} on {_day(rng)} and {second} on {_day(rng)}.",
    )
    return tale.step(first, "+", second, "There are")


def _day(rng: random.Random) -> str:
    return rng.choice(("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"))


def _inventory(tale: _Tale) -> Problem:
    who, _, pronoun, _ = _names(tale.rng)
    items = tale.rng.choice(_ITEMS)
    have = _begin(tale, who, items)
    for _ in range(tale.rng.choice((1, 1, 1, 2, 2, 3))):
        have = _change(tale, who, pronoun, have, items)
    return tale.ask(
        f"How many {items} does {who} have in the end?",
        f"How many {items} are there now?",
        f"How many does {pronoun} have now?",
        f"How many {items} does {pronoun} have?",
    )


def _sale(tale: _Tale) -> Problem:
    who, _, pronoun, capital = _names(tale.rng)
    items = tale.rng.choice(_ITEMS)
    have = _begin(tale, who, items)
    if tale.rng.random() < 0.4:
        have = _change(tale, who, pronoun, have, items)
    price = tale.rng.randrange(2, 7)
    tale.tell(
        f"{capital} sells them all at ${price} each.",
        f"Each is worth ${price}.",
        f"People pay {who} ${price} for each.",
    )
    tale.step(have, "*", price, "That makes", " dollars")
    return tale.ask(
        "How many dollars is that?", f"How much money does {pronoun} get?", f"How much are the {items} worth?"
    )


def _share(tale: _Tale) -> Problem:
    who, _, pronoun, capital = _names(tale.rng)
    items = tale.rng.choice(_ITEMS)
    have = _begin(tale, who, items)
    if tale.rng.random() < 0.4:
        have = _change(tale, who, pronoun, have, items)
    groups, pack = tale.rng.randrange(2, 10), tale.rng.choice(_PACKS)
    tale.tell(
        f"{capital} shares them equally among {groups} friends.",
        f"{capital} divides the {items} among {groups} children.",
        f"{capital} puts them into {groups} {pack}.",
    )
    tale.step(have, "/", groups, "Each gets")
    return tale.ask("How many go to each?", f"How many {items} does each get?", f"How many {items} in each?")


def _shop(tale: _Tale) -> Problem:
    rng = tale.rng
    who, _, pronoun, capital = _names(rng)
    one = rng.choice(_ITEMS)
    two = rng.choice([items for items in _ITEMS if items != one])
    first, price1, second, price2 = (rng.randrange(2, 10) for _ in range(4))
    tale.tell(
        f"{who} buys {first} {one} at ${price1} each and {second} {two} at ${price2} each.",
        f"{who} pays ${price1} each for {first} {one} and ${price2} each for {second} {two}.",
    )
    cost1 = tale.step(first, "*", price1, "The first cost", " dollars")
    cost2 = tale.step(second, "*", price2, "The second cost", " dollars")
    total = tale.step(cost1, "+", cost2, "Together that is", " dollars")
    if rng.random() < 0.4:
        note = rng.choice((50, 60, 80, 90))
        tale.tell(f"{capital} pays with ${note}.", f"{capital} had ${note}.")
        tale.step(note, "-", total, "That leaves", " dollars")
        return tale.ask(f"How much does {pronoun} have left?", "How many dollars are left?")
    return tale.ask(f"How much does {pronoun} spend?", "How much is that in all?", "What is the total cost?")


def _change_money(tale: _Tale) -> Problem:
    rng = tale.rng
    who, _, pronoun, _ = _names(rng)
    items = rng.choice(_ITEMS)
    money, count, price = rng.choice((20, 30, 40, 50, 60, 70, 80, 90)), rng.randrange(2, 10), rng.randrange(2, 10)
    tale.tell(
        f"{who} has ${money} and buys {count} {items} at ${price} each.",
        f"With ${money} {who} goes out to buy {count} {items}. Each costs ${price}.",
        f"{who} pays for {count} {items} at ${price} each with ${money}.",
    )
    cost = tale.step(count, "*", price, "They cost", " dollars")
    tale.step(money, "-", cost, "That leaves", " dollars")
    return tale.ask(
        f"How much money does {pronoun} have left?", "How many dollars are left?", f"How much does {pronoun} get back?"
    )


def _compare(tale: _Tale) -> Problem:
    rng = tale.rng
    first, second, _, _ = _names(rng)
    third = rng.choice([name for name in words.MEN + words.WOMEN if name not in (first, second)])
    items = rng.choice(_ITEMS)
    have = rng.randrange(3, 13)
    times = rng.randrange(2, 6)
    tale.tell(
        f"{first} has {have} {items}.",
        f"{first} owns {have} {items}.",
        f"There are {have} {items} in the bag of {first}.",
    )
    tale.tell(f"{second} has {times} times as many.", f"{second} has {times} times as many {items} as {first}.")
    other = tale.step(have, "*", times, "The second has")
    kind = rng.randrange(3)
    if kind == 0:
        tale.step(have, "+", other, "Together that is")
        return tale.ask("How many do they have together?", f"How many {items} do both have together?")
    more = rng.randrange(2, 13)
    tale.tell(f"{third} has {more} more than {second}.", f"{third} has {more} {items} more than {second}.")
    most = tale.step(other, "+", more, "The third has")
    if kind == 1:
        return tale.ask(f"How many {items} does {third} have?", f"How many has {third}?")
    tale.step(most, "-", have, "That is more by")
    return tale.ask(
        f"How many more {items} does {third} have than {first}?", f"How many more has {third} than {first}?"
    )


def _work(tale: _Tale) -> Problem:
    rng = tale.rng
    who, other, pronoun, capital = _names(rng)
    items, makes = rng.choice(_ITEMS), rng.choice(_MAKES)
    rate1, days1, rate2, days2 = rng.randrange(2, 10), rng.randrange(2, 8), rng.randrange(2, 10), rng.randrange(2, 8)
    if rng.random() < 0.5:
        tale.tell(
            f"{who} {makes} {rate1} {items} a day for {days1} days.",
            f"For {days1} days {who} {makes} {rate1} {items} a day.",
        )
        tale.tell(
            f"{other} {makes} {rate2} a day for {days2} days.", f"For {days2} days {other} {makes} {rate2} a day."
        )
        one = tale.step(rate1, "*", days1, "The first makes")
        two = tale.step(rate2, "*", days2, "The second makes")
        tale.step(one, "+", two, "Together that is")
        return tale.ask(f"How many {items} is that in all?", "How many is that together?")
    tale.tell(
        f"{who} {makes} {rate1} {items} in the morning and {rate2} in the evening.",
        f"In the morning {who} {makes} {rate1} {items}, later {rate2} more.",
    )
    daily = tale.step(rate1, "+", rate2, "One day makes")
    tale.tell(f"{capital} does so for {days1} days.", f"It is the same on {days1} days.")
    total = tale.step(daily, "*", days1, "That makes")
    if rng.random() < 0.3:
        goal = rng.randrange(total + 1, LARGEST + 2)
        tale.tell(f"{capital} wants {goal}.", f"The goal is {goal} {items}.")
        tale.step(goal, "-", total, "Still missing are")
        return tale.ask(f"How many more does {pronoun} need?", "How many are missing?")
    return tale.ask(f"How many {items} is that?", f"How many {items} in all?")


def _ages(tale: _Tale) -> Problem:
    rng = tale.rng
    first, second, _, _ = _names(rng)
    age, times, years = rng.randrange(3, 13), rng.randrange(2, 6), rng.randrange(2, 13)
    third = rng.choice([name for name in words.MEN + words.WOMEN if name not in (first, second)])
    tale.tell(f"{first} is {age} years old.", f"{first} is {age}.")
    tale.tell(f"{second} is {times} times as old.", f"{second} is {times} times as old as {first}.")
    other = tale.step(age, "*", times, "The second is")
    if rng.random() < 0.5:
        tale.tell(f"{third} is {years} years older than {second}.", f"{third} is {years} years older.")
        old = tale.step(other, "+", years, "The third is")
    else:
        tale.tell(f"{third} is {years} years younger than {second}.", f"{third} is {years} years younger.")
        old = tale.step(other, "-", years, "The third is")
    if rng.random() < 0.35:
        later = rng.randrange(2, 13)
        tale.step(old, "+", later, "Then the third is")
        return tale.ask(f"How old will {third} be in {later} years?")
    return tale.ask(f"How old is {third}?", f"What is the age of {third}?")


_PLOTS: tuple[Callable[[_Tale], Problem], ...] = (
    _inventory,
    _inventory,
    _inventory,
    _sale,
    _share,
    _shop,
    _change_money,
    _compare,
    _work,
    _ages,
)


def _attempt(rng: random.Random) -> Problem | None:
    try:
        return rng.choice(_PLOTS)(_Tale(rng))
    except _UnfitError:
        return None


def draw(rng: random.Random) -> Problem:
    """One problem; draws that are unfit are thrown away."""
    problem = None
    while problem is None:
        problem = _attempt(rng)
    return problem


@cache
def problems(split: Split, limit: int | None = None) -> tuple[Problem, ...]:
    """The first `limit` problems of a split, all of them for None; those of train begin with the few-shot examples."""
    size = SIZES[split] if limit is None else min(limit, SIZES[split])
    if split != "train":
        return _drawn(split, size)
    drawn = _drawn(split, max(size, _SHOTS_AMONG))
    shots = _shots(drawn[:_SHOTS_AMONG])
    return (*shots, *(problem for problem in drawn if problem not in shots))[:size]


def _drawn(split: Split, size: int) -> tuple[Problem, ...]:
    return draw_split("arithmetic", split, size, draw, lambda problem: problem.question)


def _shots(candidates: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """Five short problems of two steps that differ in their operations: shots leave room in a context of 512 tokens."""
    shortest: dict[tuple[str, ...], Problem] = {}
    for problem in sorted(candidates, key=lambda problem: len(problem.question + problem.answer)):
        operations = tuple(re.findall(r"\d([-+*/])\d", problem.answer))
        if len(operations) == 2:
            shortest.setdefault(operations, problem)
    return tuple(shortest.values())[:SHOTS]
