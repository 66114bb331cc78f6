"""The tiny language in which operations are written: parsed by hand, never evaluated as Python.

    where(x > 0, x, alpha * expm1(minimum(x, 0)))

Nothing outside `FUNCTIONS`, `MACROS`, `CONSTANTS` and the given names can be named, so a hostile text can only
be refused; the refusal carries the column of the offending character. The result is a tape.

    comparison := sum [("<" | "<=" | ">" | ">=") sum]
    sum        := product (("+" | "-") product)*
    product    := unary (("*" | "/") unary)*
    unary      := ("-" | "+") unary | power
    power      := atom ["**" integer]                 integer is 2..16
    atom       := number | name | function "(" comparison ("," comparison)* ")" | "(" comparison ")"
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from kernels.errors import FieldError, InvalidInput
from kernels.tape import FUNCTIONS, PRIMITIVES, Expression, Tape

# Written in the language itself, in `t`. Neither can overflow: the exponent is never positive.
MACROS: Final[dict[str, str]] = {
    "sigmoid": "where(t >= 0, 1, exp(-abs(t))) / (1 + exp(-abs(t)))",
    "softplus": "maximum(t, 0) + log1p(exp(-abs(t)))",
}

CONSTANTS: Final[dict[str, float]] = {"pi": math.pi}


@dataclass(frozen=True)
class Limits:
    """What a text may cost: its length, the nesting of its parts, the steps of its tape."""

    characters: int = 500
    depth: int = 32
    steps: int = 200


class ExpressionError(InvalidInput):
    """A text that is not an expression of the language; `column` (1-based) is where reading stopped."""

    def __init__(self, pointer: str, detail: str, column: int) -> None:
        super().__init__(FieldError(pointer, f"column {column}: {detail}"))
        self.column = column


_TOKEN: Final = re.compile(
    r"[ \t]*(?:(?P<number>(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<sign>\*\*|<=|>=|[-+*/(),<>])|(?P<end>\Z))",
    re.ASCII,
)
_COMPARISONS: Final = {"<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal"}
_SUMS: Final = {"+": "add", "-": "subtract"}
_PRODUCTS: Final = {"*": "multiply", "/": "divide"}


@dataclass(frozen=True)
class _Token:
    text: str
    kind: str
    column: int


class _Parser:
    """Recursive descent over the grammar above; every method returns the index of a step."""

    def __init__(self, text: str, names: Sequence[str], limits: Limits, pointer: str) -> None:
        self._pointer = pointer
        self._limits = limits
        if len(text) > limits.characters:
            self._fail(f"is {len(text)} characters long; at most {limits.characters}", limits.characters + 1)
        self._text = text
        self._tape = Tape()
        self._names = tuple(names)
        self._depth = 0
        self._tokens = self._read_tokens()
        self._at = 0

    def parse(self) -> Expression:
        root = self._comparison()
        if self._token.kind != "end":
            self._fail(f"unexpected {self._token.text!r}", self._token.column)
        if self._tape.kind(root) != "number":
            self._fail("a comparison alone is no number; use where(comparison, a, b)", 1)
        return Expression(self._text, self._tape.finish(root))

    def _fail(self, detail: str, column: int) -> NoReturn:
        raise ExpressionError(self._pointer, detail, column)

    def _read_tokens(self) -> list[_Token]:
        tokens: list[_Token] = []
        position = 0
        while not tokens or tokens[-1].kind != "end":
            match = _TOKEN.match(self._text, position)
            if match is None or match.lastgroup is None:
                start = len(self._text) - len(self._text[position:].lstrip(" \t"))
                self._fail(f"unexpected character {self._text[start]!r}", start + 1)
            tokens.append(_Token(match[match.lastgroup], match.lastgroup, match.start(match.lastgroup) + 1))
            position = match.end()
        return tokens

    @property
    def _token(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def _expect(self, sign: str) -> None:
        if self._token.text != sign:
            found = repr(self._token.text) if self._token.text else "the end"
            self._fail(f"expected {sign!r}, found {found}", self._token.column)
        self._take()

    def _call(self, function: str, arguments: tuple[int, ...], column: int) -> int:
        for position, (index, kind) in enumerate(zip(arguments, PRIMITIVES[function].arguments, strict=True)):
            if self._tape.kind(index) != kind:
                wanted = "a comparison" if kind == "truth" else "a number, not a comparison"
                self._fail(f"argument {position + 1} of {function} must be {wanted}", column)
        try:
            index = self._tape.call(function, arguments)
        except ArithmeticError as error:
            self._fail(str(error), column)
        if len(self._tape.steps) > self._limits.steps:
            self._fail(f"takes more than {self._limits.steps} steps", column)
        return index

    def _comparison(self) -> int:
        left = self._sum()
        if self._token.text not in _COMPARISONS:
            return left
        sign = self._take()
        right = self._sum()
        if self._token.text in _COMPARISONS:
            self._fail("comparisons cannot be chained", self._token.column)
        return self._call(_COMPARISONS[sign.text], (left, right), sign.column)

    def _sum(self) -> int:
        return self._chain(_SUMS, self._product)

    def _product(self) -> int:
        return self._chain(_PRODUCTS, self._unary)

    def _chain(self, signs: Mapping[str, str], operand: Callable[[], int]) -> int:
        left = operand()
        while self._token.text in signs:
            sign = self._take()
            left = self._call(signs[sign.text], (left, operand()), sign.column)
        return left

    def _unary(self) -> int:
        if self._token.text not in ("-", "+"):
            return self._power()
        sign = self._take()
        operand = self._deeper(self._unary, sign.column)
        if self._tape.kind(operand) != "number":
            self._fail(f"{sign.text} needs a number, not a comparison", sign.column)
        return operand if sign.text == "+" else self._call("negative", (operand,), sign.column)

    def _power(self) -> int:
        base = self._atom()
        if self._token.text != "**":
            return base
        sign = self._take()
        exponent = self._take()
        if exponent.kind != "number" or exponent.text not in {str(n) for n in range(2, 17)}:
            self._fail("the exponent of ** must be a whole number from 2 to 16", exponent.column)
        result = base
        for bit in bin(int(exponent.text))[3:]:
            result = self._call("multiply", (result, result), sign.column)
            if bit == "1":
                result = self._call("multiply", (result, base), sign.column)
        return result

    def _deeper(self, part: Callable[[], int], column: int) -> int:
        self._depth += 1
        if self._depth > self._limits.depth:
            self._fail(f"is nested deeper than {self._limits.depth}", column)
        index = part()
        self._depth -= 1
        return index

    def _atom(self) -> int:
        token = self._take()
        if token.kind == "number":
            return self._constant(float(token.text), token.column)
        if token.text == "(":
            index = self._deeper(self._comparison, token.column)
            self._expect(")")
            return index
        if token.kind == "word":
            return self._word(token)
        return self._fail(f"unexpected {token.text!r}" if token.text else "ends too early", token.column)

    def _constant(self, value: float, column: int) -> int:
        try:
            return self._tape.constant(value)
        except ArithmeticError as error:
            return self._fail(str(error), column)

    def _word(self, token: _Token) -> int:
        if token.text in self._names:
            return self._tape.name(token.text)
        if token.text in CONSTANTS:
            return self._tape.constant(CONSTANTS[token.text])
        if token.text not in FUNCTIONS and token.text not in MACROS:
            known = ", ".join([*self._names, *CONSTANTS, *sorted([*FUNCTIONS, *MACROS])])
            self._fail(f"unknown name {token.text!r}; known are {known}", token.column)
        arguments = self._arguments()
        wanted = len(FUNCTIONS[token.text].arguments) if token.text in FUNCTIONS else 1
        if len(arguments) != wanted:
            self._fail(f"{token.text} takes {wanted} argument(s), not {len(arguments)}", token.column)
        if token.text in FUNCTIONS:
            return self._call(token.text, arguments, token.column)
        return self._macro(token, arguments[0])

    def _macro(self, token: _Token, argument: int) -> int:
        if self._tape.kind(argument) != "number":
            self._fail(f"argument 1 of {token.text} must be a number, not a comparison", token.column)
        places: list[int] = []
        for step in parse(MACROS[token.text], ("t",)).steps:
            if step.function == "name":
                places.append(argument)
            elif step.function == "constant":
                places.append(self._constant(step.constant, token.column))
            else:
                places.append(self._call(step.function, tuple(places[i] for i in step.arguments), token.column))
        return places[-1]

    def _arguments(self) -> tuple[int, ...]:
        opening = self._token
        self._expect("(")
        arguments = [self._deeper(self._comparison, opening.column)]
        while self._token.text == ",":
            self._take()
            arguments.append(self._deeper(self._comparison, opening.column))
        self._expect(")")
        return tuple(arguments)


def parse(text: str, names: Sequence[str], limits: Limits = Limits(), pointer: str = "/expression") -> Expression:
    """Read `text`, which may use `names`, `CONSTANTS`, `FUNCTIONS` and `MACROS`, and nothing else.

    `pointer` is the JSON pointer that an error names. Raises ExpressionError (an InvalidInput) with the
    column of the first character that cannot be accepted.
    """
    return _Parser(text, names, limits, pointer).parse()
