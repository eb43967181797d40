"""Masks one event: its free-form objects are walked once, and what the policy finds is replaced in place."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, Final, NamedTuple, TypeAlias, cast

import orjson

from tallystick.privacy.masking.names import OWN, words_of
from tallystick.privacy.masking.policy import LABELS, Policy
from tallystick.privacy.masking.rules import Action, Finding, FoundBy, Sealer, is_masked, marker

TREES: Final = ("before", "after", "metadata")
TEXTS: Final = ("message", "user_agent")
"""The fields that are masked. The others are what events are found by: they are stored as sent."""

_BESIDE: Final = frozenset(
    ("value", "old", "new", "old value", "new value", "from", "to", "before", "after", "previous", "current")
) | {"previous value", "current value", "content", "data", "val"}
"""Members that hold what a label beside them names."""

_SHORTEST_CARD: Final = 10**12
_MOST_CANDIDATES: Final = 1_000
"""Places of one event that are looked at closely. What looks like a secret beyond them is redacted with all of its
string: an event that is crowded with secrets takes no more than some milliseconds of everybody's time."""

CROWDED: Final = "crowded"
"""The rule under which that is counted."""

_SCALARS: Final = (str, int, float)

_Node: TypeAlias = "dict[str, Any] | list[Any]"


class _Gone:
    """What a dropped value becomes."""


_GONE: Final = _Gone()


class _Span(NamedTuple):
    """Part of a text; without a rule it only looked like a secret."""

    start: int
    end: int
    rule: str
    found_by: FoundBy


class Masker:
    """A policy at work, with the keys of the tenant where it needs any.

    Args:
        policy: What is masked, and how.
        sealer: The tenant's keys; None where the policy is not keyed.
        count: Told of everything that was masked.
    """

    def __init__(self, policy: Policy, sealer: Sealer | None, count: Callable[[Iterable[Finding]], None]) -> None:
        self._policy = policy
        self._sealer = sealer
        self._count = count

    def suspects(self, body: bytes) -> bool:
        """Whether there may be something to mask in an event, by its JSON: one look, linear in its length.

        Args:
            body: As orjson writes it, with all of its fields.
        """
        scan = self._policy.scan
        return scan is not None and scan.search(body) is not None

    def mask(self, event: dict[str, Any], salt: bytes) -> list[Finding]:
        """Mask an event in place, and count what was found.

        Args:
            event: Its fields by name.
            salt: The event's own, which what is sealed is bound to.
        """
        walk = _Walk(self._policy, self._sealer, salt)
        for name in TEXTS:
            text = event.get(name)
            if isinstance(text, str):
                event[name] = walk.text(text, f"/{name}", always_text=True)
        for name in TREES:
            tree = event.get(name)
            if isinstance(tree, dict):
                walk.tree(cast("dict[str, Any]", tree), f"/{name}")
        self._count(walk.findings)
        return walk.findings


class _Walk:
    """One event on its way through a policy."""

    def __init__(self, policy: Policy, sealer: Sealer | None, salt: bytes) -> None:
        self._policy = policy
        self._sealer = sealer
        self._salt = salt
        self._left = _MOST_CANDIDATES
        self.findings: list[Finding] = []

    def tree(self, tree: dict[str, Any], pointer: str) -> None:
        """Mask a free-form object in place."""
        pending: list[tuple[_Node, str]] = [(tree, pointer)]
        while pending:
            node, path = pending.pop()
            if isinstance(node, dict):
                pending.extend(self._members(node, path))
            else:
                pending.extend(self._items(node, path))

    def text(self, text: str, pointer: str, *, always_text: bool = False) -> object:
        """What a string becomes.

        Args:
            text: The string.
            pointer: Where it stands.
            always_text: What is sealed must be a string, too.
        """
        raw = text.encode()
        spans = self._spans(raw)
        if not spans:
            return text
        written, sealed = self._rewritten(raw, spans, pointer)
        if not sealed:
            return written
        keys = self._keys()
        return keys.seal_text(written, self._salt, pointer) if always_text else keys.seal(written, self._salt, pointer)

    def _members(self, node: dict[str, Any], path: str) -> Iterator[tuple[_Node, str]]:
        """Mask the members of an object; gives the objects and lists among them that are to be walked."""
        looked_at = self._may_hold(node, node.values())
        if looked_at:
            self._rename(node, path)
        labelled = self._label(node)
        for key, value in list(node.items()):
            pointer = f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
            rule = self._policy.names.rule_of(key)
            if not rule and labelled and words_of(key) in _BESIDE:
                rule = labelled
            if rule and _holds_secret(value, numbers=self._policy.names.masks_numbers(rule)):
                new = self._whole(value, rule, pointer, "name")
            elif value.__class__ is dict or value.__class__ is list:
                yield value, pointer
                continue
            else:
                new = self._scalar(value, pointer) if looked_at else value
            if new is _GONE:
                del node[key]
            elif new is not value:
                node[key] = new

    def _items(self, node: list[Any], path: str) -> Iterator[tuple[_Node, str]]:
        """The same for a list. What is dropped leaves a null, so that its neighbours keep their places."""
        looked_at = self._may_hold(node)
        for index, value in enumerate(node):
            pointer = f"{path}/{index}"
            if value.__class__ is dict or value.__class__ is list:
                yield value, pointer
                continue
            if looked_at:
                new = self._scalar(value, pointer)
                node[index] = None if new is _GONE else new

    def _may_hold(self, *values: Iterable[object]) -> bool:
        """Whether the strings and numbers among some values may hold a secret: one look for all of them."""
        if self._policy.text is None:
            return False
        held = [str(value) for value in chain(*values) if isinstance(value, _SCALARS)]
        return self._policy.text.search("\n".join(held).encode()) is not None

    def _scalar(self, value: object, pointer: str) -> object:
        if isinstance(value, str):
            return self.text(value, pointer)
        # A number is looked at as what it stands for, `4111111111111111.0` too.
        if isinstance(value, bool) or not isinstance(value, int | float) or not _SHORTEST_CARD <= value < 10 * 10**18:
            return value
        if isinstance(value, float) and not value.is_integer():
            return value
        digits = str(int(value)).encode()
        span = next((span for span in self._by_value(digits) if span.end - span.start == len(digits)), None)
        return value if span is None or not span.rule else self._whole(value, span.rule, pointer, "value")

    def _rename(self, node: dict[str, Any], path: str) -> None:
        """Mask what keys themselves hold. A key can be no sealed value: where it should be, it is redacted."""
        held = {key: self._spans(key.encode()) for key in node}
        if not any(held.values()):
            return
        members = list(node.items())
        node.clear()
        same: Counter[str] = Counter()
        for key, value in members:
            spans = held[key]
            plain = new = self._rewritten(key.encode(), spans, path, sealing=False)[0] if spans else key
            while new in node:
                same[plain] += 1
                new = f"{plain} #{same[plain] + 1}"
            node[new] = value

    def _label(self, node: dict[str, Any]) -> str:
        """The rule of a name that stands as a value, as in `{"field": "password", "new": …}`; or nothing."""
        for key, value in node.items():
            if isinstance(value, str) and key.encode().lower().endswith(LABELS):
                rule = self._policy.names.rule_of(value)
                if rule:
                    return rule
        return ""

    def _spans(self, raw: bytes) -> list[_Span]:
        """Where secrets stand in a text, in order and apart from each other."""
        if self._policy.text is None or self._policy.text.search(raw) is None:
            return []
        candidates = chain(self._by_value(raw), self._by_name(raw))
        found: list[_Span] = []
        for span in candidates:
            self._left -= 1
            if self._left < 0:
                return [_Span(0, len(raw), CROWDED, "value")]
            if span.rule:
                found.append(span)
        return _merged(found)

    def _by_value(self, raw: bytes) -> Iterator[_Span]:
        for rule in self._policy.values:
            for match in rule.expression.finditer(raw):
                start, end = _secret(match.span, rule.groups)
                holds = rule.check is None or rule.check(raw[start:end], raw[end : end + 1])
                yield _Span(start, end, rule.rule if holds else "", "value")

    def _by_name(self, raw: bytes) -> Iterator[_Span]:
        if self._policy.named is not None:
            for start, end, rule in self._policy.named.find(raw):
                yield _Span(start, end, rule, "name")

    def _rewritten(self, raw: bytes, spans: list[_Span], pointer: str, *, sealing: bool = True) -> tuple[str, bool]:
        """The text with its secrets replaced, and whether it is to be sealed, since one is to be recovered."""
        pieces: list[str] = []
        position = 0
        sealed = False
        for start, end, rule, found_by in spans:
            action = self._note(rule, pointer, found_by, sealing=sealing)
            secret = raw[start:end].decode()
            pieces.append(raw[position:start].decode())
            position = end
            if action is Action.HASH:
                pieces.append(self._keys().digest(secret))
            elif action is Action.ENCRYPT:
                pieces.append(secret)
                sealed = True
            elif action is not Action.DROP:
                pieces.append(marker(_shown(rule)))
        pieces.append(raw[position:].decode())
        return "".join(pieces), sealed

    def _whole(self, value: object, rule: str, pointer: str, found_by: FoundBy) -> object:
        """What a whole value becomes."""
        match self._note(rule, pointer, found_by):
            case Action.REDACT:
                return marker(_shown(rule))
            case Action.HASH:
                return self._keys().digest(_as_text(value))
            case Action.ENCRYPT:
                return self._keys().seal(value, self._salt, pointer)
            case Action.DROP:
                return _GONE

    def _note(self, rule: str, pointer: str, found_by: FoundBy, *, sealing: bool = True) -> Action:
        action = self._policy.action_of(rule)
        if action is Action.ENCRYPT and not sealing:
            action = Action.REDACT
        self.findings.append(Finding(pointer, _shown(rule), action, found_by))
        return action

    def _keys(self) -> Sealer:
        if self._sealer is None:
            raise ValueError("a keyed policy is at work without keys")
        return self._sealer


def _shown(rule: str) -> str:
    """The name of a rule as others see it: each of a tenant's own names has its own action."""
    return OWN if rule.startswith(OWN) else rule


def _secret(span: Callable[[int], tuple[int, int]], groups: int) -> tuple[int, int]:
    return next(found for group in range(1, groups + 1) if (found := span(group)) != (-1, -1))


def _merged(spans: list[_Span]) -> list[_Span]:
    """Spans in order, those that overlap as one under the rule of the first: none may show what another hides."""
    merged: list[_Span] = []
    for span in sorted(spans, key=lambda span: span.start):
        if merged and span.start < merged[-1].end:
            if span.end > merged[-1].end:
                merged[-1] = merged[-1]._replace(end=span.end)
        else:
            merged.append(span)
    return merged


def _holds_secret(value: object, *, numbers: bool) -> bool:
    """Whether there is anything to mask in a value whose name is sensitive: not in truth, null, or what is masked."""
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, str):
            if not is_masked(one):
                return True
        elif isinstance(one, dict):
            pending.extend(cast("dict[str, object]", one).values())
        elif isinstance(one, list):
            pending.extend(cast("list[object]", one))
        elif numbers and one is not None and not isinstance(one, bool):
            return True
    return False


def _as_text(value: object) -> str:
    """What a digest is made of: a string itself, a number as JSON writes it, else JSON with its keys in order."""
    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
