"""Interprets the part of URScript that our program uses, a word of motion at a time.

Statements: def, return, while, if, elif, else, end, assignments to variables and to elements of lists, and calls. All
of a program is read and its types are checked before anything runs, also where it seldom comes to. It is strict: the
type of a variable never changes, conditions are truth values, and what is not known here is refused.

What was checked becomes a Python generator, since a controller runs the program 500 times a second.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, TypeAlias

#: a word of motion: what it is called, and what it was told
MotionWord: TypeAlias = tuple[str, tuple[Any, ...]]
ValueKind: TypeAlias = Literal["whole number", "number", "truth value", "list", "nothing"]

MAX_LOOPS = 100_000  # chosen: a program that computes for so long without a word of motion has hung
#: word of motion -> how many arguments it takes, at least and at most, and which of them is a list
MOTIONS: Mapping[str, tuple[int, int, int | None]] = {"speedl": (3, 4, 0), "stopl": (1, 2, None), "sync": (0, 0, None)}
_SIGNS: Mapping[type[ast.AST], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_NUMBERS = ("whole number", "number")


class ScriptError(ValueError):
    """The program is none that can be interpreted, or does what a controller would refuse. Says the line."""


@dataclass(frozen=True, slots=True)
class ScriptWord:
    """Something that the controller does for a program."""

    do: Callable[..., Any]
    """What it does."""
    takes: tuple[ValueKind, ...]
    """Kinds of its arguments. A whole number will do for a number."""
    gives: ValueKind
    """ValueKind of its value."""


@dataclass(slots=True)
class _Function:
    """A def that is not called yet, or was translated for the kinds that it was first called with."""

    parameters: tuple[str, ...]
    begins: int
    ends: int
    takes: tuple[ValueKind, ...] | None = None
    gives: ValueKind = "nothing"


class _Scope:
    """Variables of the def that is translated."""

    def __init__(self, variables: dict[str, ValueKind], *, main: bool) -> None:
        self.variables, self.main = variables, main
        self.gives: ValueKind = "nothing"


class Program:
    """A URScript file: one def, with defs in it. Raises ScriptError for what is not understood."""

    def __init__(self, text: str, words: Mapping[str, ScriptWord]) -> None:
        self._words = {**arithmetic_words(), **words}
        lines = [(n, line.split("#", 1)[0].strip()) for n, line in enumerate(text.splitlines(), 1)]
        self._lines = [(n, line) for n, line in lines if line]
        self._at = 0
        self._functions: dict[str, _Function] = {}
        self._source: list[tuple[int, str]] = []  # line of the program, translated
        self._scope = _Scope({}, main=True)
        name, parameters = self._head()
        if parameters:
            self._refuse("the program's own def takes no parameters")
        self._functions[name] = _Function((), 0, 0, takes=("nothing",))
        out: list[tuple[int, str]] = [(self._line, "def p_main():")]
        self._at += 1
        self._block(("end",), 1, out)
        self._at += 1
        if self._at != len(self._lines):
            self._refuse("something stands after the program's end")
        out.append((0, "    if False: yield"))
        self._source += out
        code = compile("\n".join(line for _, line in self._source), "<urscript>", "exec")
        self._loops = 0
        self._space: dict[str, Any] = {f"w_{n}": w.do for n, w in self._words.items()}
        self._space |= {"_loop": self._looped, "_at": _at}
        exec(code, self._space)

    def run(self) -> Iterator[MotionWord]:
        """Run, and yield each word of motion as it comes. Raises ScriptError for what a controller would refuse."""
        self._loops = 0
        try:
            for motion in self._space["p_main"]():
                yield motion
                self._loops = 0
        except (TypeError, ValueError, ArithmeticError, LookupError, UnboundLocalError) as e:
            raise ScriptError(f"line {self._line_of(e)}: {e}") from e

    def _looped(self) -> bool:
        self._loops += 1
        if self._loops > MAX_LOOPS:
            raise ValueError("the program computes for too long without a word of motion")
        return True

    def _line_of(self, error: BaseException) -> int:
        """Line of the program at which an error came."""
        line, trace = 0, error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == "<urscript>":
                line = self._source[trace.tb_lineno - 1][0]
            trace = trace.tb_next
        return line

    # -- statements --------------------------------------------------------------------------------------------------

    @property
    def _line(self) -> int:
        return self._lines[min(self._at, len(self._lines) - 1)][0] if self._lines else 0

    def _refuse(self, why: str) -> NoReturn:
        raise ScriptError(f"line {self._line}: {why}")

    def _next(self) -> str:
        if self._at >= len(self._lines):
            self._refuse("an end is missing")
        return self._lines[self._at][1]

    def _head(self) -> tuple[str, tuple[str, ...]]:
        """Name and parameters of a def."""
        line = self._next() if self._lines else ""
        if not (line.startswith("def ") and line.endswith(":")):
            self._refuse("a program begins with def NAME():")
        call = self._parsed(line[4:-1])
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.keywords:
            self._refuse("a def needs a name and parentheses")
        names = tuple(a.id for a in call.args if isinstance(a, ast.Name))
        if len(names) != len(call.args):
            self._refuse("the parameters of a def are names")
        return call.func.id, names

    def _block(self, ends: tuple[str, ...], depth: int, out: list[tuple[int, str]]) -> None:
        """Translate statements up to one of `ends`, which stays."""
        pad = "    " * depth
        while not self._is_end(ends):
            number, line = self._line, self._next()
            if line.startswith("def "):
                self._skip_def()
                continue
            if line.startswith("while ") and line.endswith(":"):
                out.append((number, f"{pad}while ({self._condition(line[6:-1])}) and _loop():"))
                self._at += 1
                self._block(("end",), depth + 1, out)
                out.append((number, f"{pad}    pass"))
            elif line.startswith("if ") and line.endswith(":"):
                self._if(depth, out)
            else:
                out.append((number, pad + self._simple(line)))
            self._at += 1

    def _is_end(self, ends: tuple[str, ...]) -> bool:
        line = self._next()
        return line in ends or ("elif" in ends and line.startswith("elif "))

    def _if(self, depth: int, out: list[tuple[int, str]]) -> None:
        pad, word = "    " * depth, "if"
        while True:
            number, line = self._line, self._next()
            if line == "else:":
                out.append((number, f"{pad}else:"))
                ends: tuple[str, ...] = ("end",)
            else:
                if not line.endswith(":"):
                    self._refuse("a colon is missing")
                head = len("elif ") if line.startswith("elif ") else len("if ")
                out.append((number, f"{pad}{word} {self._condition(line[head:-1])}:"))
                ends = ("end", "else:", "elif")
            self._at += 1
            self._block(ends, depth + 1, out)
            out.append((number, f"{pad}    pass"))
            if self._next() == "end":
                return
            word = "elif"

    def _skip_def(self) -> None:
        """Note a def, and go on after it. It is translated where it is first called, when kinds are known."""
        name, parameters = self._head()
        self._check_free(name)
        begins, open_blocks = self._at, 0
        while True:
            line = self._next()
            open_blocks += line.startswith(("def ", "while ", "if ")) - (line == "end")
            self._at += 1
            if open_blocks == 0:
                break
        self._functions[name] = _Function(parameters, begins, self._at)

    def _simple(self, line: str) -> str:
        """An assignment, a return, a word of motion, or a call."""
        if line.startswith("return "):
            source, kind = self._expression(line[7:])
            if self._scope.main or self._scope.gives not in ("nothing", kind):
                self._refuse("a return stands in a def inside the program, and always gives the same kind")
            self._scope.gives = kind
            return f"return {source}"
        try:
            body = ast.parse(line).body
        except SyntaxError:
            self._refuse(f"{line!r} is not known here")
        node = body[0] if len(body) == 1 else None
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            return self._assigned(node.targets[0], *self._built(node.value))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name):
            name = node.value.func.id
            return self._motion(name, node.value) if name in MOTIONS else self._built(node.value)[0]
        self._refuse(f"{line!r} is not known here")

    def _assigned(self, target: ast.expr, source: str, kind: ValueKind) -> str:
        if kind == "nothing":
            self._refuse("that has no value")
        if isinstance(target, ast.Name):
            self._check_free(target.id)
            known = self._scope.variables.setdefault(target.id, kind)
            if known != kind:
                self._refuse(f"{target.id} is a {known}, and cannot become a {kind}")
            return f"v_{target.id} = " + (f"list({source})" if kind == "list" else source)
        if isinstance(target, ast.Subscript):
            if kind != "number":
                self._refuse(f"lists hold numbers with a point here, and no {kind}")
            return f"{self._element(target)} = {source}"
        self._refuse("only variables and elements of lists are given values")

    def _motion(self, name: str, call: ast.Call) -> str:
        if not self._scope.main:
            self._refuse("a word of motion stands in the program itself")
        least, most, a_list = MOTIONS[name]
        given = [self._built(a) for a in call.args]
        if call.keywords or not least <= len(given) <= most:
            self._refuse(f"{name} takes {least} to {most} arguments")
        for k, (_, kind) in enumerate(given):
            if (kind == "list") != (k == a_list) or kind not in ("list", *_NUMBERS):
                self._refuse(f"argument {k + 1} of {name} cannot be a {kind}")
        parts = [f"list({s})" if kind == "list" else s for s, kind in given]
        return f"yield {name!r}, ({''.join(p + ', ' for p in parts)})"

    def _check_free(self, name: str) -> None:
        if name in self._words or name in MOTIONS or name in self._functions:
            self._refuse(f"{name} is a word already")

    # -- expressions: each is translated, and has a kind ---------------------------------------------------------------

    def _parsed(self, text: str) -> ast.expr:
        try:
            return ast.parse(text.strip(), mode="eval").body
        except SyntaxError:
            self._refuse(f"{text.strip()!r} is not known here")

    def _expression(self, text: str) -> tuple[str, ValueKind]:
        return self._built(self._parsed(text))

    def _condition(self, text: str) -> str:
        return self._of_kind(self._parsed(text), "truth value")

    def _of_kind(self, node: ast.expr, *kinds: ValueKind) -> str:
        source, kind = self._built(node)
        if kind not in kinds:
            self._refuse(f"{ast.unparse(node)!r} is a {kind}, where a {kinds[-1]} is needed")
        return source

    def _built(self, node: ast.expr) -> tuple[str, ValueKind]:
        if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
            named: dict[type, ValueKind] = {bool: "truth value", int: "whole number", float: "number"}
            return repr(node.value), named[type(node.value)]
        if isinstance(node, ast.Name):
            if node.id not in self._scope.variables:
                self._refuse(f"{node.id} has no value yet")
            return f"v_{node.id}", self._scope.variables[node.id]
        if isinstance(node, ast.List):
            return f"[{', '.join(self._of_kind(e, 'number') for e in node.elts)}]", "list"
        if isinstance(node, ast.Subscript):
            return self._element(node), "number"
        if isinstance(node, ast.UnaryOp | ast.BinOp | ast.BoolOp | ast.Compare):
            return self._operated(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            return self._called(node.func.id, [self._built(a) for a in node.args])
        self._refuse(f"{ast.unparse(node)!r} is not known here")

    def _element(self, node: ast.Subscript) -> str:
        return f"{self._of_kind(node.value, 'list')}[_at({self._of_kind(node.slice, 'whole number')})]"

    def _operated(self, node: ast.UnaryOp | ast.BinOp | ast.BoolOp | ast.Compare) -> tuple[str, ValueKind]:
        if isinstance(node, ast.BoolOp):
            sign = " and " if isinstance(node.op, ast.And) else " or "
            return f"({sign.join(self._of_kind(e, 'truth value') for e in node.values)})", "truth value"
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return f"(not {self._of_kind(node.operand, 'truth value')})", "truth value"
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            source, kind = self._built(node.operand)
            self._check_numbers(node, kind)
            return f"(-{source})", kind
        if isinstance(node, ast.BinOp):
            (a, one), (b, other) = self._built(node.left), self._built(node.right)
            self._check_numbers(node, one, other)
            if isinstance(node.op, ast.Div):
                if (one, other) != ("number", "number"):
                    self._refuse("only numbers with a point are divided here")
                return f"({a} / {b})", "number"
            if type(node.op) in _SIGNS:
                whole = one == other == "whole number"
                return f"({a} {_SIGNS[type(node.op)]} {b})", "whole number" if whole else "number"
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _SIGNS:
            (a, one), (b, other) = self._built(node.left), self._built(node.comparators[0])
            self._check_numbers(node, one, other)
            return f"({a} {_SIGNS[type(node.ops[0])]} {b})", "truth value"
        self._refuse(f"{ast.unparse(node)!r} is not known here")

    def _check_numbers(self, node: ast.expr, *kinds: ValueKind) -> None:
        for kind in kinds:
            if kind not in _NUMBERS:
                self._refuse(f"{ast.unparse(node)!r} reckons with a {kind}")

    def _called(self, name: str, given: list[tuple[str, ValueKind]]) -> tuple[str, ValueKind]:
        sources, kinds = ", ".join(s for s, _ in given), tuple(kind for _, kind in given)
        if name in self._functions:
            return f"f_{name}({sources})", self._translated(name, kinds)
        if name in MOTIONS:
            self._refuse(f"{name} has no value: it stands alone in its line")
        if name not in self._words:
            self._refuse(f"there is no {name}")
        word = self._words[name]
        fits = [k == w or (k == "whole number" and w == "number") for k, w in zip(kinds, word.takes, strict=False)]
        if len(kinds) != len(word.takes) or not all(fits):
            self._refuse(f"{name} takes ({', '.join(word.takes)}), and not ({', '.join(kinds)})")
        return f"w_{name}({sources})", word.gives

    def _translated(self, name: str, kinds: tuple[ValueKind, ...]) -> ValueKind:
        """Translate a def for the kinds that it is called with. Returns the kind of its value."""
        function = self._functions[name]
        if function.takes is None:
            if len(kinds) != len(function.parameters):
                self._refuse(f"{name} takes {len(function.parameters)} arguments, and not {len(kinds)}")
            function.takes = kinds
            before = self._at, self._scope
            self._scope = _Scope(dict(zip(function.parameters, kinds, strict=True)), main=False)
            self._at = function.begins
            out = [(self._line, f"def f_{name}({', '.join(f'v_{p}' for p in function.parameters)}):")]
            self._at += 1
            self._block(("end",), 1, out)
            if self._scope.gives == "nothing":
                self._refuse(f"{name} returns nothing")
            function.gives = self._scope.gives
            self._source += out
            self._at, self._scope = before
        if function.takes != kinds or function.gives == "nothing":
            self._refuse(f"{name} is called with ({', '.join(kinds)}), and before with ({', '.join(function.takes)})")
        return function.gives


def _at(place: int) -> int:
    if place < 0:
        raise LookupError(f"there is no element {place}")
    return place


def arithmetic_words() -> dict[str, ScriptWord]:
    """What needs no controller: sqrt and floor."""
    return {
        "sqrt": ScriptWord(math.sqrt, ("number",), "number"),
        "floor": ScriptWord(math.floor, ("number",), "whole number"),
    }
