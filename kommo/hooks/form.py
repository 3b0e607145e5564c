"""Decode form bodies the way PHP does, because PHP's `http_build_query` writes what Kommo sends.

`decode` follows PHP's `$_POST` (and `parse_str`): split on `&`, then on the first `=`, then decode percent escapes
and `+`; nested keys (`leads[add][0][id]`), appends (`a[]`), the last of several values under one path wins. PHP's
rules for odd names hold too: leading spaces are dropped, spaces and dots of the name become `_`, an unclosed `[`
becomes `_`, whatever follows the last closed bracket is ignored, a field without a name is skipped.

A container whose keys are exactly 0 to n-1 comes out as a list; any other stays a dict with its keys as strings. No
key is ever used as a size: `linked_leads_id[9982719][ID]` costs one entry.

Bytes that are not UTF-8 become U+FFFD: nothing raises, and the delivery itself is kept as it came. NUL is data in a
value and ends a key, as in PHP.

https://developers.kommo.com/docs/webhooks-general · https://www.php.net/manual/en/function.parse-str.php
"""

import re
from collections.abc import Iterator
from typing import Any

from kommo.errors import BodyTooLarge, TooDeep, TooManyFields

#: Bytes in a body.
MAX_BYTES = 8 * 1024 * 1024
#: Fields in a body, counted by their separators.
MAX_FIELDS = 50_000
#: Brackets in a key: `a[b][c]` has two.
MAX_DEPTH = 32
#: Dicts and lists in a body: short keys with many brackets would else cost a thousand times their length in memory.
MAX_CONTAINERS = 200_000

_ESCAPES = re.compile("(?:%[0-9A-Fa-f]{2})+")
_INTEGER = re.compile("0|-?[1-9][0-9]{0,18}")
_LARGEST_INTEGER = 2**63 - 1
# C's isspace: PHP reads one of these between brackets as an empty key.
_APPEND = frozenset(("", " ", "\t", "\n", "\v", "\f", "\r"))
_NAME = str.maketrans(" .", "__")
_UNCLOSED = str.maketrans(" .[", "___")
# PHP takes these only at the start of a field's name as it was sent, and drops the field at any other place.
_RESERVED = ("__Host-", "__Secure-")
# Characters of a key whose prefixes are remembered.
_SHORT_KEY = 200
# Stands for such a part; no key contains a NUL.
_FORGED = "\0"

_Node = dict[str, Any]


def decode(
    body: bytes, *, max_bytes: int = MAX_BYTES, max_fields: int = MAX_FIELDS, max_depth: int = MAX_DEPTH
) -> dict[str, Any]:
    """Decode a form body into dicts, lists and strings.

    Raises BodyTooLarge, TooManyFields or TooDeep, each before the work that it bounds.
    """
    if len(body) > max_bytes:
        raise BodyTooLarge(f"The body has {len(body)} bytes; {max_bytes} are allowed")
    if (fields := body.count(b"&") + 1) > max_fields:
        raise TooManyFields(f"The body has {fields} fields; {max_fields} are allowed")
    tree = _Tree(max_depth)
    for key, value in _pairs(body):
        tree.put(key, value)
    return tree.finish()


def _pairs(body: bytes) -> Iterator[tuple[str, str]]:
    # Brackets and `+` come in every field: one pass over the whole body spares a pass over each key. It cannot make
    # or break an escape, since neither a bracket nor a space is a hexadecimal digit.
    body = body.replace(b"+", b" ").replace(b"%5B", b"[").replace(b"%5D", b"]")
    # Latin-1 carries every byte, so that one decoding serves all fields.
    for pair in body.decode("latin-1").split("&"):
        key, _, value = pair.partition("=")
        if "%" in pair or not pair.isascii():
            key, value = _unescape(key), _unescape(value)
        if key:
            yield key, value


def _unescape(text: str) -> str:
    return _ESCAPES.sub(_escaped, text).encode("latin-1").decode("utf-8", "replace")


def _escaped(run: re.Match[str]) -> str:
    return bytes.fromhex(run[0].replace("%", "")).decode("latin-1")


class _Tree:
    """What has been decoded so far."""

    __slots__ = ("_containers", "_max_depth", "_next_index", "_places", "_root")

    def __init__(self, max_depth: int) -> None:
        self._max_depth = max_depth
        self._root: _Node = {}
        # Every container with the place it was made for, parents before children. Keeps replaced ones alive as well,
        # so that `id` names one container only.
        self._containers: list[tuple[_Node, str, _Node]] = []
        # The index that `[]` takes next, by `id` of the container; only for those that have seen a `[]`.
        self._next_index: dict[int, int] = {}
        # Containers by the regular, short prefix of a key that leads to them: neighbours mostly share theirs.
        self._places: dict[str, _Node] = {}

    def put(self, key: str, value: str) -> None:
        prefix, bracket, last = key.rpartition("[")
        if bracket and _is_plain(last) and len(key) <= _SHORT_KEY:
            node = self._places.get(prefix)
            if node is None and key.count("[") <= self._max_depth:
                node = self._place(prefix)
            if node is not None:
                self._write(node, last[:-1], value)
                return
        path = _path(key, self._max_depth)
        if path:
            self._walk(path, value)

    def _place(self, prefix: str) -> _Node | None:
        """Find or make the container of a regular prefix; None, and nothing made, if PHP's odder rules apply."""
        node = self._places.get(prefix)
        if node is not None:
            return node
        outer, bracket, last = prefix.rpartition("[")
        if bracket:
            parent = self._place(outer) if _is_plain(last) else None
            node = self._child(parent, last[:-1]) if parent is not None else None
        elif prefix.isidentifier() and prefix[0] != "_":
            node = self._child(self._root, prefix)
        if node is not None:
            self._places[prefix] = node
        return node

    def _walk(self, path: list[str], value: str) -> None:
        node: _Node | None = self._root
        for step in path[:-1]:
            node = self._child(node, step) if node is not None else None
        if node is not None:
            self._write(node, path[-1], value)

    def _child(self, node: _Node, step: str) -> _Node | None:
        key = self._key(node, step)
        if key is None:
            return None
        child = node.get(key)
        if type(child) is dict:
            return child
        if len(self._containers) >= MAX_CONTAINERS:
            raise TooManyFields(f"The body has more than {MAX_CONTAINERS} containers, which are all that is allowed")
        made: _Node = {}
        node[key] = made
        self._containers.append((node, key, made))
        return made

    def _write(self, node: _Node, step: str, value: str) -> None:
        key = self._key(node, step)
        if key is None:
            return
        if type(node.get(key)) is dict:
            self._places.clear()
        node[key] = value

    def _key(self, node: _Node, step: str) -> str | None:
        if not step:
            return self._append(node)
        if step == _FORGED:
            return None
        if self._next_index and (taken := self._next_index.get(id(node))) is not None:
            index = _integer(step)
            if index is not None and index >= taken:
                self._next_index[id(node)] = index + 1
        return step

    def _append(self, node: _Node) -> str | None:
        """Return the key that PHP gives an element without one: the largest so far and one, None if that is full."""
        index = self._next_index.get(id(node))
        if index is None:
            largest = max((i for key in node if (i := _integer(key)) is not None), default=-1)
            index = largest + 1
        if index > _LARGEST_INTEGER:
            return None
        self._next_index[id(node)] = index + 1
        return str(index)

    def finish(self) -> dict[str, Any]:
        # Children were made after their parents, so that backwards every list is complete before it is placed.
        for parent, key, node in reversed(self._containers):
            if "0" in node and parent.get(key) is node:
                parent[key] = _listed(node)
        return self._root


def _is_plain(last: str) -> bool:
    """Whether what follows the last `[` of a key is a part that needs none of PHP's rules."""
    return last.find("]") == len(last) - 1 > 0 and last.isprintable() and last[0] not in " _"


def _path(key: str, max_depth: int) -> list[str]:
    """Split a decoded key into its name and bracketed parts, "" for an append; empty if it names nothing."""
    key = key.partition("\0")[0].lstrip(" ")
    name, bracket, rest = key.partition("[")
    clean = name.translate(_NAME)
    if not clean or _is_forged(clean, key):
        return []
    if not bracket:
        return [clean]
    parts = rest[:-1].split("][") if rest.endswith("]") else []
    if not parts or rest.count("]") != len(parts):
        parts = _odd_parts(rest, max_depth)
    if len(parts) > max_depth:
        raise TooDeep(f"A key is nested more than {max_depth} deep, which is all that is allowed")
    if parts:
        return [clean, *(_step(part, key) for part in parts)]
    # The first bracket was never closed, so that it belongs to the name.
    return [_step(f"{clean}_{rest.translate(_UNCLOSED)}", key)]


def _odd_parts(rest: str, max_depth: int) -> list[str]:
    """Read bracketed parts one by one until one is not closed or not followed by another, as PHP does."""
    parts: list[str] = []
    start = 0
    while len(parts) <= max_depth:
        space = rest[start : start + 1] in _APPEND
        end = rest.find("]", start + 1 if space else start)
        if end < 0:
            break
        parts.append(rest[start:end])
        start = end + 2
        if rest[end + 1 : start] != "[":
            break
    return parts


def _step(part: str, key: str) -> str:
    if part in _APPEND:
        return ""
    return _FORGED if _is_forged(part, key) else part


def _is_forged(name: str, key: str) -> bool:
    return name.startswith(_RESERVED) and not any(name.startswith(r) and key.startswith(r) for r in _RESERVED)


def _integer(key: str) -> int | None:
    """Return the integer that PHP makes of a key: decimal without leading zeros, 64 bits."""
    if _INTEGER.fullmatch(key) is None:
        return None
    value = int(key)
    return value if -_LARGEST_INTEGER - 1 <= value <= _LARGEST_INTEGER else None


def _listed(node: _Node) -> _Node | list[Any]:
    values = [node[key] for key in map(str, range(len(node))) if key in node]
    return values if len(values) == len(node) else node
