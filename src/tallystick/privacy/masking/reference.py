"""The rules and presets of masking as tables, in Markdown; `docs/reference/masking.md` has them."""

from collections.abc import Iterable

from tallystick.privacy.masking.detectors import DETECTORS, NAMED
from tallystick.privacy.masking.names import KEPT, NAME_RULES
from tallystick.privacy.masking.presets import PRESETS
from tallystick.privacy.masking.rules import Action


def _presets_with(rule: str) -> str:
    """The presets that have a rule, and what becomes of what it finds there."""
    told: list[str] = []
    for name, preset in PRESETS.items():
        if rule in (*preset.names, *preset.detectors):
            action = preset.actions.get(rule, Action.REDACT)
            told.append(f"`{name}`" if action is Action.REDACT else f"`{name}` ({action})")
    return ", ".join(told)


def _named(terms: Iterable[str]) -> str:
    return ", ".join(term.replace(" ", "_") for term in terms)


def preset_table() -> str:
    """Every preset."""
    rows = [f"| `{name}` | {preset.summary} |" for name, preset in PRESETS.items()]
    return "\n".join(["| Preset | Masks |", "| --- | --- |", *rows]) + "\n"


def name_table() -> str:
    """Every rule for names, with its names."""
    rows: list[str] = []
    for rule, names in NAME_RULES.items():
        told = _named(names.terms)
        if names.alone:
            told += ("; " if told else "") + f"nothing before it: {_named(names.alone)}"
        rows.append(f"| `{rule}` | {told} | {_presets_with(rule)} |")
    return "\n".join(["| Rule | Names | In the presets |", "| --- | --- | --- |", *rows]) + "\n"


def kept_names() -> str:
    """Names that end in a term and stay."""
    return _named(KEPT)


def detector_table() -> str:
    """Every detector."""
    rows = [f"| `{rule}` | {detector.summary} | {_presets_with(rule)} |" for rule, detector in DETECTORS.items()]
    named = 'names of the rules above within a string: `password=…`, `"token": "…"`, `--api-key …`, `<secret>…`'
    rows.append(f"| `{NAMED}` | {named} | {_presets_with(NAMED)} |")
    return "\n".join(["| Detector | Finds | In the presets |", "| --- | --- | --- |", *rows]) + "\n"
