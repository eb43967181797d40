"""Presets: which rules a tenant has that chose nothing more, and what becomes of what they find."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from tallystick.privacy.masking.detectors import DETECTORS, NAMED
from tallystick.privacy.masking.names import CARDHOLDER, CARDS, CREDENTIALS, NAME_RULES, NATIONAL, PERSONAL
from tallystick.privacy.masking.rules import Action

PresetName = Literal["default", "pci", "gdpr", "none"]

RULES: Final = (*NAME_RULES, *DETECTORS)
"""Every rule that an action can be chosen for. Metrics count these, `own_name` and `crowded`."""

SWITCHES: Final = (*DETECTORS, NAMED)
"""Every detector that can be switched on or off."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A choice of rules.

    Attributes:
        summary: Whom it is for.
        names: Rules for names.
        detectors: Rules for values.
        actions: What becomes of what they find, where it is not redacted.
    """

    summary: str
    names: tuple[str, ...]
    detectors: tuple[str, ...]
    actions: Mapping[str, Action]


_USUAL_NAMES: Final = (*CREDENTIALS, *CARDS, *NATIONAL)
_USUAL_DETECTORS: Final = (*(name for name, detector in DETECTORS.items() if detector.on), NAMED)
_PERSONAL_DETECTORS: Final = ("email", "iban", "us_ssn")

PRESETS: Final[Mapping[PresetName, Preset]] = {
    "default": Preset(
        "what nobody means to log: credentials, payment cards, social security numbers",
        _USUAL_NAMES,
        _USUAL_DETECTORS,
        {},
    ),
    "pci": Preset(
        "`default`, and the cardholder data of PCI DSS 4.0 (requirement 3): holder, expiry, tracks",
        (*_USUAL_NAMES, *CARDHOLDER),
        _USUAL_DETECTORS,
        {},
    ),
    "gdpr": Preset(
        "`default`, and what names a person, replaced by digests: pseudonyms (GDPR Article 4 (5))",
        (*_USUAL_NAMES, *PERSONAL),
        (*_USUAL_DETECTORS, *_PERSONAL_DETECTORS),
        dict.fromkeys((*PERSONAL, *_PERSONAL_DETECTORS, *NATIONAL), Action.HASH),
    ),
    "none": Preset("nothing is masked", (), (), {}),
}
