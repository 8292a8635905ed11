"""Conditions of rules: a boolean SQL expression over features and limits, parsed by Polars, kept as a small tree.

The words of the text are checked before Polars sees it, so nothing but this language reaches the SQL parser: no
string, no query, no function but four. Polars parses it (nobody here writes a parser); its tree is then turned
into ours, node by node, and a node without a meaning here is refused. What runs is our tree (`rules.evaluate`),
so a condition can compute nothing else.

Every value is a number or undetermined (NULL). Logic is Kleene's: a verdict is true, false or undetermined, and
``undetermined OR true`` is true. Deviations from SQL, all towards *no data is not normal*: ``LEAST`` and
``GREATEST`` of something undetermined are undetermined (PostgreSQL skips it), and so is a division by zero.
``1 / 2`` is 0.5, not integer division.
"""

import io
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import polars as pl

from rules.errors import ConditionError, close_names

__all__ = ["LANGUAGE", "RESERVED", "Condition", "Node", "compile", "identifiers"]

LANGUAGE: Final = (
    "names of features and limits, numbers, + - * / %, = <> < <= > >=, AND, OR, NOT, BETWEEN, IN, IS NULL, "
    "IS NOT NULL, ABS, LEAST, GREATEST, COALESCE, parentheses"
)

_FUNCTIONS = {"ABS", "LEAST", "GREATEST", "COALESCE"}
RESERVED: Final = frozenset({"AND", "OR", "NOT", "BETWEEN", "IN", "IS", "NULL"} | _FUNCTIONS)
"""Words that no feature and no limit may be called, in any case."""

# One SQL condition of a rule has seldom more than five terms; the bound keeps every recursion below shallow.
MAX_LENGTH: Final = 1000

_TOKEN = re.compile(
    r"\s*(?:(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<number>(?:\d+\.?\d*|\.\d+)(?![\w.]))|(?P<sign><=|>=|<>|!=|[-+*/%=<>(),]))"
)

_NUMBER, _VERDICT = "number", "verdict"

Node = tuple[Any, ...]
"""``(operation, operand, ...)``: hashable, so that equal parts of several conditions are computed once.

Numbers: ``("name", str)``, ``("number", float)``, add, subtract, multiply, divide, remainder, absolute, least,
greatest, first (COALESCE). Verdicts: less, less_equal, greater, greater_equal, equal, and, or, not, unknown
(IS NULL of a number), undetermined (IS NULL of a verdict), first_verdict.
"""


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled condition."""

    text: str
    names: tuple[str, ...]  # of the features and limits in it, in order of appearance
    node: Node
    expr: (
        pl.Expr
    )  # Polars' own form: a second opinion in tests and back-tests, not what verdicts are made with


def identifiers(text: str) -> tuple[str, ...]:
    """Names in a condition, in order of appearance, without checking anything else."""
    words = (match["word"] for match in _TOKEN.finditer(text) if match["word"])
    return tuple(dict.fromkeys(word for word in words if word.upper() not in RESERVED))


def compile(text: str, names: Collection[str]) -> Condition:  # noqa: A001  (it is what it does, as re.compile)
    """Compile a condition.

    Parameters
    ----------
    text : str
        SQL boolean expression, at most 1000 characters.
    names : collection of str
        Features and limits that it may name.

    Raises
    ------
    ConditionError
        For a word, a sign or a construction that is not in the language, naming what is legal.
    """
    quoted = _checked(text, names)
    try:
        expr = pl.sql_expr(quoted)
        tree = json.loads(expr.meta.serialize(format="json"))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, RecursionError) as error:
        reason = str(error).splitlines()[0].replace('"', "")
        raise ConditionError(wrong=f"{text!r} is not a condition ({reason})", legal=LANGUAGE) from None
    node, kind = _convert(tree)
    if kind != _VERDICT:
        raise ConditionError(
            wrong=f"{text!r} is a number, not true or false", legal="a comparison, such as gain_3d >= 2"
        )
    return Condition(text, identifiers(text), node, expr)


def _checked(text: str, names: Collection[str]) -> str:
    """Check each word and sign; return the text with names quoted, so that no name is a keyword of SQL."""
    if not text.strip():
        raise ConditionError(wrong="the condition is empty", legal=LANGUAGE)
    if len(text) > MAX_LENGTH:
        raise ConditionError(wrong=f"the condition has {len(text)} characters", legal=f"at most {MAX_LENGTH}")
    out: list[str] = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            rest = text[at:].lstrip()
            at = len(text) - len(rest) + 1
            raise ConditionError(
                wrong=f"{rest[:12]!r} at character {at} is not in the language", legal=LANGUAGE
            )
        at = match.end()
        word = match["word"]
        if word is None:
            out.append(match["number"] or match["sign"])
        elif word.upper() in RESERVED:
            out.append(word.upper())
        elif word in names:
            out.append(f'"{word}"')
        elif text[at:].lstrip().startswith("("):
            raise ConditionError(wrong=f"unknown function {word!r}", legal=", ".join(sorted(_FUNCTIONS)))
        else:
            raise ConditionError(wrong=f"unknown name {word!r}", legal=close_names(word, names))
    joined = " ".join(out)
    if "- -" in joined or "( )" in joined:
        # Two minus signs begin a comment once a space is lost; an empty list makes the parser panic.
        raise ConditionError(wrong=f"{text!r} has an empty list or a double minus", legal=LANGUAGE)
    return joined


_ARITHMETIC = {
    "Plus": "add",
    "Minus": "subtract",
    "Multiply": "multiply",
    "TrueDivide": "divide",
    "Divide": "divide",
}
_SQL_ARITHMETIC = {"Add": "add", "Sub": "subtract", "Mul": "multiply", "Div": "divide", "Rem": "remainder"}
_COMPARISON = {"Lt": "less", "LtEq": "less_equal", "Gt": "greater", "GtEq": "greater_equal", "Eq": "equal"}
_LOGIC = {"And": "and", "Or": "or", "LogicalAnd": "and", "LogicalOr": "or"}


def _refused(what: object) -> ConditionError:
    return ConditionError(wrong=f"{what} is not in the language", legal=LANGUAGE)


def _numbers(operation: str, *trees: Any) -> Node:  # noqa: ANN401  (JSON)
    """Node of `operation` on numbers."""
    out: list[Any] = [operation]
    for tree in trees:
        node, kind = _convert(tree)
        if kind != _NUMBER:
            raise ConditionError(
                wrong="a comparison or a calculation is made with something true or false", legal=LANGUAGE
            )
        out.append(node)
    return tuple(out)


def _verdicts(operation: str, *trees: Any) -> Node:  # noqa: ANN401
    """Node of `operation` on verdicts."""
    out: list[Any] = [operation]
    for tree in trees:
        node, kind = _convert(tree)
        if kind != _VERDICT:
            raise ConditionError(
                wrong=f"{operation.upper()} is given a number",
                legal="a comparison on each side, such as a > 1 AND b > 2",
            )
        out.append(node)
    return tuple(out)


def _convert(tree: Any) -> tuple[Node, str]:  # noqa: ANN401
    """Turn a node of Polars' tree into ours, with its type."""
    if not isinstance(tree, Mapping) or len(tree) != 1:
        raise _refused(tree if isinstance(tree, str) else "this construction")
    (kind, body), *_ = tree.items()
    if kind == "Column":
        return ("name", body), _NUMBER
    if kind == "Literal":
        return ("number", _literal(body)), _NUMBER
    if kind == "BinaryExpr":
        return _binary(body["op"], body["left"], body["right"])
    if kind == "Function":
        return _function(body["function"], body["input"])
    raise _refused(kind)


def _binary(op: str, left: Any, right: Any) -> tuple[Node, str]:  # noqa: ANN401
    if op in _COMPARISON:
        return _numbers(_COMPARISON[op], left, right), _VERDICT
    if op in _LOGIC:
        return _verdicts(_LOGIC[op], left, right), _VERDICT
    if op in _ARITHMETIC:
        return _numbers(_ARITHMETIC[op], left, right), _NUMBER
    raise _refused(op)


# Functions of Polars' tree that are ours with the same operands.
_NUMERIC = {"Abs": "absolute", "MinHorizontal": "least", "MaxHorizontal": "greatest"}


def _function(function: Any, inputs: list[Any]) -> tuple[Node, str]:  # noqa: ANN401
    match function:
        case str(name) if name in _NUMERIC:
            return _numbers(_NUMERIC[name], *inputs), _NUMBER
        case {"Sql": {"Binary": str(op)}} if op in _SQL_ARITHMETIC:
            return _numbers(_SQL_ARITHMETIC[op], *inputs), _NUMBER
        case {"Sql": {"Binary": str(op)}}:
            return _binary(op, *inputs)
        case "Coalesce" if _convert(inputs[0])[1] == _NUMBER:
            return _numbers("first", *inputs), _NUMBER
        case _:
            return _predicate(function, inputs), _VERDICT


def _predicate(function: Any, inputs: list[Any]) -> Node:  # noqa: ANN401
    """Functions that are true or false."""
    match function:
        case {"Boolean": "Not"}:
            (inner,) = inputs
            # Polars wraps what NOT is given in a cast to boolean, whatever it is.
            if isinstance(inner, Mapping) and inner.get("Cast", {}).get("dtype") == {"Literal": "Boolean"}:
                inner = inner["Cast"]["expr"]
            return _verdicts("not", inner)
        case {"Boolean": "IsNull" | "IsNotNull" as asked}:
            node, kind = _convert(inputs[0])
            missing: Node = ("unknown" if kind == _NUMBER else "undetermined", node)
            return missing if asked == "IsNull" else ("not", missing)
        case {"Sql": {"IsIn": _}} | {"Boolean": {"IsIn": _}}:
            return _is_in(inputs)
        case "Coalesce":
            return _verdicts("first_verdict", *inputs)
    raise _refused(what=function if isinstance(function, str) else next(iter(function), "this function"))


def _is_in(inputs: list[Any]) -> Node:
    """``x IN (1, 2)`` is ``x = 1 OR x = 2``."""
    node, kind = _convert(inputs[0])
    if kind != _NUMBER:
        raise _refused(what="IN of something true or false")
    try:
        listed = pl.read_ipc_stream(io.BytesIO(bytes(inputs[1]["Literal"]["Series"]))).to_series().to_list()
        values = [float(value) for value in (listed[0] if isinstance(listed[0], list) else listed)]
    except (KeyError, TypeError, ValueError, pl.exceptions.PolarsError):
        raise _refused(what="this list after IN") from None
    out: Node = ("equal", node, ("number", values[0]))
    for value in values[1:]:
        out = ("or", out, ("equal", node, ("number", value)))
    return out


def _literal(body: Any) -> float:  # noqa: ANN401
    """Value of a number as written: a decimal text is the nearest double, as ``float(text)``."""
    match body:
        case {"Dyn": {"Int": int(value)}} | {"Dyn": {"Float": float(value) | int(value)}}:
            return float(value)
        case {"Scalar": {"Decimal": [int(digits), int(), int(scale)]}}:
            return float(Decimal(digits).scaleb(-scale))
    raise ConditionError(
        wrong="a literal is not a number",
        legal="numbers such as 2 or 1.36; IS NULL to ask for what is undetermined",
    )
