"""A tenant's masking, compiled: settings become tables and expressions once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import orjson

from tallystick.privacy.masking.detectors import DETECTORS, NAMED
from tallystick.privacy.masking.expressions import Expression, compiled
from tallystick.privacy.masking.names import OWN, TAIL, NameMatcher, NameTable, words_of
from tallystick.privacy.masking.naming import NamedSecrets, in_json, in_text
from tallystick.privacy.masking.presets import PRESETS
from tallystick.privacy.masking.rules import KEYED, Action
from tallystick.privacy.masking.schemas import MaskingSettings

_MOST_POLICIES: Final = 256
"""Policies that a process keeps: most tenants share one, and each has expressions of up to a few megabytes."""

LABELS: Final = (b"name", b"key", b"field", b"attribute", b"property", b"header", b"variable", b"parameter", b"path")
"""How members end whose value is the name of what stands beside them: `{"field": "password", "new": …}`."""

_LABELLED: Final = (
    rf"(?i:{'|'.join(label.decode() for label in LABELS)})\":\"(?:[^\"\\]|\\.)*(?i:%s){TAIL}\""  # %s: spellings
)


@dataclass(frozen=True, slots=True)
class ValueRule:
    """A detector at work."""

    rule: str
    expression: Expression
    groups: int
    check: Callable[[bytes, bytes], bool] | None


@dataclass(frozen=True, slots=True)
class Policy:
    """What is masked, and how.

    Attributes:
        scan: Matches the JSON of every event in which there is something to mask, and of few others; None where
            nothing is masked.
        names: Tells which rule a name falls under.
        values: The detectors that are on.
        text: Matches every string in which `values` or `named` find something; None where there are none.
        named: Finds sensitive names within strings; None where that is off.
        actions: By rule.
        keyed: Whether some rule needs the tenant's keys.
    """

    scan: Expression | None
    names: NameMatcher
    values: tuple[ValueRule, ...]
    text: Expression | None
    named: NamedSecrets | None
    actions: Mapping[str, Action]
    keyed: bool

    def action_of(self, rule: str) -> Action:
        """What becomes of what a rule finds."""
        return self.actions.get(rule, Action.REDACT)

    def redacting(self) -> "Policy":
        """The same rules, and every one of them redacts."""
        return replace(self, actions={}, keyed=False)


def policy_of(settings: Mapping[str, object] | None) -> Policy:
    """The policy of a tenant's `masking` settings; those of the same settings share one.

    Raises:
        ValueError: They are not valid, as when a newer release wrote them.
    """
    return _compile(b"{}" if settings is None else orjson.dumps(settings, option=orjson.OPT_SORT_KEYS))


@lru_cache(_MOST_POLICIES)
def _compile(written: bytes) -> Policy:
    settings = MaskingSettings.model_validate(orjson.loads(written))
    preset = PRESETS[settings.preset]
    own = {words_of(name): action for name, action in settings.names.items()}
    table = NameTable.of(
        preset.names,
        own={term: f"{OWN}:{action}" for term, action in own.items() if action != "keep"},
        kept=[term for term, action in own.items() if action == "keep"],
    )
    names = NameMatcher(table)
    on = {*preset.detectors} | {name for name, wanted in settings.detectors.items() if wanted}
    on -= {name for name, wanted in settings.detectors.items() if not wanted}
    detectors = {rule: detector for rule, detector in DETECTORS.items() if rule in on}
    values = tuple(
        ValueRule(rule, expression := compiled(detector.in_text()), expression.groups, detector.check)
        for rule, detector in detectors.items()
    )
    spellings = table.spellings()
    actions = {
        **preset.actions,
        **{rule: Action(action) for rule, action in settings.actions.items()},
        **{f"{OWN}:{action}": action for action in Action},
    }
    used = {
        actions.get(rule, Action.REDACT) for rule in (*table.terms.values(), *table.alone.values(), *detectors) if rule
    }
    texts = [detector.in_text() for detector in detectors.values()]
    hints = [detector.in_json() for detector in detectors.values()]
    named = spellings and NAMED in on
    if named:
        texts.append(in_text(spellings))
    if spellings:
        hints += [in_json(spellings), _LABELLED % spellings]
    if table.beyond_ascii:
        hints.append(r"[\x80-\xff]")
    return Policy(
        scan=compiled("|".join(hints), captures=False) if hints else None,
        names=names,
        values=values,
        text=compiled("|".join(texts), captures=False) if texts else None,
        named=NamedSecrets(names, spellings) if named else None,
        actions=actions,
        keyed=not used.isdisjoint(KEYED),
    )
