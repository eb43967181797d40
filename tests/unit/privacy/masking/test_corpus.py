"""How much of what should be masked is, and how little else: the documented figures, and floors under them."""

import copy
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest

from masking_corpus import Sample, corpus
from tallystick.privacy.masking.masker import Masker
from tallystick.privacy.masking.policy import policy_of
from tallystick.privacy.masking.presets import PRESETS, RULES

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "masking.md"

RECALL = 0.97
"""Over all secrets of the corpus, those included that nothing gives away."""

PRECISION = 0.98
"""Of all that is masked in it."""

WORST = {"email": (0.96, 0.99), "bearer_token": (0.85, 1.0), "token": (0.9, 0.9), "password": (0.85, 1.0)}
"""Recall and precision of single rules, at least, where they are below the usual."""

USUAL = (0.95, 0.8)


@dataclass
class Score:
    """Of one rule, or of all."""

    secrets: int = 0
    found: int = 0
    decoys: int = 0
    taken: int = 0

    @property
    def recall(self) -> float:
        return self.found / self.secrets if self.secrets else 1.0

    @property
    def precision(self) -> float:
        return self.found / (self.found + self.taken) if self.found + self.taken else 1.0


@dataclass
class Scores:
    """Of a whole corpus."""

    rules: dict[str, Score] = field(default_factory=dict[str, Score])

    def of(self, rule: str) -> Score:
        return self.rules.setdefault(rule, Score())

    @property
    def all(self) -> Score:
        total: Counter[str] = Counter()
        for score in self.rules.values():
            total.update(vars(score))
        return Score(**total)


def masker_for(sample: Sample) -> Masker:
    """The default rules, or those of the preset that has the rule in question; everything is redacted."""
    usual = sample.rule in (*PRESETS["default"].names, *PRESETS["default"].detectors)
    preset = "default" if usual else "pci" if sample.rule in PRESETS["pci"].names else "gdpr"
    return Masker(policy_of({"preset": preset, "actions": dict.fromkeys(RULES, "redact")}), None, lambda _: None)


@pytest.fixture(scope="module")
def scores() -> Scores:
    made = Scores()
    for sample in corpus():
        event = copy.deepcopy(sample.event)
        findings = masker_for(sample).mask(event, b"")
        score = made.of(sample.rule)
        if sample.secret is None:
            score.decoys += 1
            for finding in findings:
                made.of(finding.rule).taken += 1
        else:
            score.secrets += 1
            left = orjson.dumps(event).decode()
            score.found += sample.secret not in left and orjson.dumps(sample.secret).decode()[1:-1] not in left
    return made


def rows(scores: Scores) -> list[str]:
    named = [(f"`{rule}`", scores.rules[rule]) for rule in RULES if rule in scores.rules]
    return [
        f"| {name} | {one.secrets:,} | {one.recall:.1%} | {one.decoys:,} | {one.taken:,} | {one.precision:.1%} |"
        for name, one in [*named, ("all", scores.all)]
    ]


def test_every_rule_is_measured(scores: Scores) -> None:
    assert {rule for rule, score in scores.rules.items() if score.secrets} == set(RULES) - {"token_list"}


@pytest.mark.parametrize("rule", RULES)
def test_no_rule_falls_below_its_floor(scores: Scores, rule: str) -> None:
    recall, precision = WORST.get(rule, USUAL)
    assert scores.of(rule).recall >= recall
    assert scores.of(rule).precision >= precision


def test_all_together_do_not_fall_below_theirs(scores: Scores) -> None:
    assert scores.all.recall >= RECALL
    assert scores.all.precision >= PRECISION


def test_the_documentation_has_these_figures(scores: Scores) -> None:
    table = re.search(r"<!-- figures -->\n\n.*\n.*\n((?:\|.*\n)+)", PAGE.read_text())
    assert table is not None
    assert table[1].splitlines() == rows(scores), "\n".join(rows(scores))


def test_the_quick_look_misses_nothing_of_it() -> None:
    for sample in corpus(seed=9):
        masker = masker_for(sample)
        body = b"," + orjson.dumps(sample.event)
        if masker.mask(copy.deepcopy(sample.event), b""):
            assert masker.suspects(body), sample
