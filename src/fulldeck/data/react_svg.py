"""SVG drawings that a package ships only as compiled React components.

The code is read, not run: `React.createElement("path", {d: "..."}, ...)` already has the shape of the drawing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element

from fulldeck.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

_SVG = "http://www.w3.org/2000/svg"
_COMPONENT = re.compile(r"^const Svg(\w+) = ", re.MULTILINE)
_TOKEN = re.compile(
    r"\s+|/\*.*?\*/"
    r"|(?P<string>\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')"
    r"|(?P<number>-?\d+(?:\.\d+)?(?:e-?\d+)?)"
    r"|(?P<name>[A-Za-z_$][\w$.]*)"
    r"|(?P<mark>\.\.\.|\|\||[-+(){}\[\],:;?=>!&])",
    re.DOTALL,
)
# React writes fill-opacity as fillOpacity; these SVG attributes are written so by themselves.
_CAMEL = {
    "clipPathUnits", "gradientTransform", "gradientUnits", "markerHeight", "markerUnits", "markerWidth",
    "maskContentUnits", "maskUnits", "pathLength", "patternContentUnits", "patternTransform", "patternUnits",
    "preserveAspectRatio", "refX", "refY", "spreadMethod", "stdDeviation", "viewBox",
}  # fmt: skip


def components(code: str) -> dict[str, Element]:
    """The drawings in a module: each component's name (less its "Svg") with its drawing.

    Raises:
        DataError: A component is written in a way that is not understood.
    """
    starts = list(_COMPONENT.finditer(code))
    ends = [start.start() for start in starts[1:]] + [len(code)]
    found = {}
    for start, end in zip(starts, ends, strict=True):
        body = code[start.end() : end]
        begin = body.find("React.createElement")
        if begin < 0:
            continue
        try:
            drawing = _Reader(body[begin:]).value()
        except (StopIteration, ValueError) as error:
            msg = f"the component Svg{start[1]} is not understood ({error})"
            raise DataError(msg) from error
        if isinstance(drawing, Element):
            found[start[1]] = drawing
    return found


class _Reader:
    """Reads the few expressions that such components are made of."""

    def __init__(self, code: str) -> None:
        self._tokens = _tokens(code)
        self._next = next(self._tokens)

    def value(self) -> Any:
        """An element, an object, a text or a number; None for whatever is only known when the code runs."""
        kind, text = self._take()
        if kind == "string":
            return _unquoted(text)
        if kind == "number":
            return text
        if text == "{":
            return self._object()
        if kind != "name":
            msg = f"unexpected {text!r}"
            raise ValueError(msg)
        if self._next[1] == "(":
            arguments = self._arguments()
            return _element(*arguments) if text == "React.createElement" else _merged(arguments)
        if self._next[1] == "?":  # a title that nobody gave: what stands after the colon
            self._take()
            self.value()
            self._expect(":")
            return self.value()
        return None

    def _object(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self._next[1] != "}":
            kind, key = self._take()
            if key == "...":
                self.value()
            else:
                self._expect(":")
                found[_unquoted(key) if kind == "string" else key] = self.value()
            if self._next[1] == ",":
                self._take()
        self._take()
        return found

    def _arguments(self) -> list[Any]:
        self._expect("(")
        found = []
        while self._next[1] != ")":
            found.append(self.value())
            if self._next[1] == ",":
                self._take()
        self._take()
        return found

    def _expect(self, mark: str) -> None:
        _, text = self._take()
        if text != mark:
            msg = f"{text!r} where {mark!r} was expected"
            raise ValueError(msg)

    def _take(self) -> tuple[str, str]:
        token, self._next = self._next, next(self._tokens, ("end", ""))
        if token[0] == "end":
            msg = "it ends too early"
            raise ValueError(msg)
        return token


def _tokens(code: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(code):
        found = _TOKEN.match(code, at)
        if found is None:
            yield "other", code[at]
            at += 1
            continue
        at = found.end()
        if found.lastgroup:
            yield found.lastgroup, found[0]


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def _merged(arguments: list[Any]) -> dict[str, Any]:
    """What `_extends({...}, props)` makes, when no props are given."""
    return {key: value for part in arguments if isinstance(part, dict) for key, value in part.items()}


def _element(tag: Any, attributes: Any = None, *children: Any) -> Element:
    element = Element(f"{{{_SVG}}}{tag}")
    for key, value in (attributes or {}).items():
        if isinstance(value, dict):
            element.set(key, ";".join(f"{_hyphened(name)}:{part}" for name, part in value.items()))
        elif isinstance(value, str) and not key.startswith("xmlns"):
            name = "{http://www.w3.org/1999/xlink}href" if key == "xlinkHref" else _hyphened(key)
            element.set("class" if key == "className" else name, value)
    for child in children:
        if isinstance(child, Element):
            element.append(child)
        elif isinstance(child, str):
            element.text = (element.text or "") + child
    return element


def _hyphened(key: str) -> str:
    return key if key in _CAMEL else re.sub(r"[A-Z]", lambda found: "-" + found[0].lower(), key)
