"""Values that give themselves away, wherever they stand.

A detector is an expression with a group around the secret, and perhaps a check of what it found: a checksum, or what
the secret decodes to. No expression matches a character that JSON escapes, but for what a `hint` stands in for. So what
matches in a string matches in its JSON as well; only what stands before it may look different there, for which
`{edge}` and `{number}` are written.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tallystick.privacy.masking.checks import (
    is_card_number,
    is_email_address,
    is_iban,
    is_jwt,
    is_random,
    is_social_security_number,
    is_user_and_password,
)

EDGES: Final[Mapping[str, tuple[str, str]]] = {
    "{edge}": (r"(?:^|[^0-9A-Za-z])", r"(?:[^0-9A-Za-z]|\\[bfnrt]|\\u00[0-9a-f]{2})"),
    "{number}": (r"(?:^|[^0-9A-Za-z.])", r"(?:[^0-9A-Za-z.]|\\[bfnrt]|\\u00[0-9a-f]{2})"),
}
"""What may stand before a secret: in a string, and in JSON, where a line feed is written with a letter. A fraction is
no number of a card."""


@dataclass(frozen=True, slots=True)
class Detector:
    """Finds one kind of secret.

    Attributes:
        summary: What it finds, for people.
        pattern: RE2; `{edge}` and `{number}` are replaced; a group is what is masked.
        check: Given the secret and the byte after it, whether it is one; None where the form is proof enough.
        hint: What a string's JSON holds wherever `pattern` matches, where that is not `pattern` itself.
        on: Whether it is on in the preset `default`.
    """

    summary: str
    pattern: str
    check: Callable[[bytes, bytes], bool] | None = None
    hint: str | None = None
    on: bool = True

    def in_text(self) -> str:
        """The expression for a string."""
        return _with_edges(self.pattern, 0)

    def in_json(self) -> str:
        """An expression that JSON matches wherever a string in it matches."""
        return _with_edges(self.hint or self.pattern, 1)


def _with_edges(pattern: str, column: int) -> str:
    for name, edges in EDGES.items():
        pattern = pattern.replace(name, edges[column])
    return pattern


_SEP: Final = r"[ \-]"
_CARD: Final = "|".join(
    (
        r"4[0-9]{15}",
        r"5[1-5][0-9]{14}",
        r"2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}",
        r"3[47][0-9]{13}",
        r"3(?:0[0-5]|[689][0-9])[0-9]{11}",
        r"35(?:2[89]|[3-8][0-9])[0-9]{12}",
        r"(?:6011|64[4-9][0-9]|65[0-9]{2})[0-9]{12}",
        r"62[0-9]{14,17}",
        r"220[0-4][0-9]{12}",
        r"(?:5018|5020|5038|5893|6304|6759|676[1-3])[0-9]{12}",
        rf"(?:[45][0-9]{{3}}|2[2-7][0-9]{{2}}|35[2-8][0-9]|6[0-9]{{3}})(?:{_SEP}[0-9]{{4}}){{3}}(?:{_SEP}[0-9]{{3}})?",
        rf"3[47][0-9]{{2}}{_SEP}[0-9]{{6}}{_SEP}[0-9]{{5}}",
        rf"3[0689][0-9]{{2}}{_SEP}[0-9]{{6}}{_SEP}[0-9]{{4}}",
    )
)
"""Numbers of the issuers' ranges (ISO/IEC 7812): Visa, Mastercard, American Express, Diners Club, JCB, Discover,
UnionPay, Mir, Maestro; without parting, or parted as they are embossed."""

_JWT: Final = r"eyJ[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]*){2,4}"
_PEM: Final = r"-----BEGIN (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----"
_PEM_END: Final = r"-----END (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----"

DETECTORS: Final[Mapping[str, Detector]] = {
    "private_key_block": Detector(
        "a private key as PEM (RFC 7468), OpenPGP or PuTTY text, with all its lines, whole or cut off",
        rf"(?s)({_PEM}.*?(?:{_PEM_END}|$)|PuTTY-User-Key-File-[23]:.*$)",
        hint=rf"{_PEM}|PuTTY-User-Key-File-[23]:",
    ),
    "payment_card": Detector(
        "numbers of payment cards: of an issuer's range, of its length, with a right check digit (Luhn)",
        rf"{{number}}({_CARD})",
        is_card_number,
    ),
    "jwt": Detector(
        "JSON Web Tokens, signed or encrypted (RFC 7515, RFC 7516): the header is decoded",
        rf"{{edge}}({_JWT})",
        is_jwt,
    ),
    "bearer_token": Detector(
        "what follows `Bearer` (RFC 6750), where it looks drawn by lot",
        r"{edge}(?i:bearer) {1,2}([A-Za-z0-9._~+/\-]{12,}={0,2})",
        lambda found, _: is_random(found),
    ),
    "basic_credentials": Detector(
        "what follows `Basic` (RFC 7617), where it decodes to `user:password`",
        r"{edge}(?i:basic) {1,2}([A-Za-z0-9+/]{6,}={0,2})",
        lambda found, _: is_user_and_password(found),
    ),
    "url_password": Detector(
        "the password in a URL's user information (RFC 3986 §3.2.1): of databases, queues, repositories",
        r"[A-Za-z0-9]://[^\x00-\x20/?#:@\"'<>\\]*:([^\x00-\x20/\"'<>\\]+)@",
    ),
    "aws_key": Detector(
        "access key ids of AWS, and the secret key beside one",
        r"{edge}((?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?:[:,/ ]{1,2}[A-Za-z0-9/+]{40})?)",
    ),
    "google_key": Detector(
        "API keys, access tokens and client secrets of Google",
        r"{edge}(AIza[0-9A-Za-z_\-]{35}|ya29\.[0-9A-Za-z_\-]{20,}|GOCSPX-[0-9A-Za-z_\-]{28})",
    ),
    "azure_key": Detector(
        "storage and bus keys, client secrets and signatures of shared access of Azure",
        r"(?:(?:AccountKey|SharedAccessKey|SharedSecretValue)=([A-Za-z0-9+/]{20,}={0,2})"
        r"|([0-9A-Za-z_~.]{3}8Q~[0-9A-Za-z_~.\-]{31,34})|[?&]sig=([0-9A-Za-z%+/=]{20,}))",
    ),
    "github_token": Detector(
        "tokens of GitHub and GitLab",
        r"{edge}(gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,}"
        r"|gl(?:pat|dt|rt|ptt|cbt|ft|imt|agent|oas|soat)-[0-9A-Za-z_\-]{20,})",
    ),
    "slack_token": Detector(
        "tokens and webhooks of Slack and Discord",
        r"{edge}(xox[abeoprs]-[0-9A-Za-z\-]{10,}|xapp-[0-9A-Za-z\-]{10,}"
        r"|hooks\.slack\.com/services/[A-Z0-9]+/[A-Z0-9]+/[A-Za-z0-9]{16,}"
        r"|discord(?:app)?\.com/api/webhooks/[0-9]{16,}/[A-Za-z0-9_\-]{30,})",
    ),
    "stripe_key": Detector(
        "secret and restricted keys of Stripe, and secrets of its webhooks",
        r"{edge}([rs]k_(?:live|test)_[0-9A-Za-z]{10,}|whsec_[A-Za-z0-9+/]{24,}={0,2})",
    ),
    "mail_key": Detector(
        "keys of Twilio, SendGrid, Mailgun, Mailchimp and Brevo",
        r"{edge}(SK[0-9a-f]{32}|SG\.[0-9A-Za-z_\-]{16,32}\.[0-9A-Za-z_\-]{32,64}|key-[0-9a-f]{32}"
        r"|[0-9a-f]{32}-us[0-9]{1,2}|xkeysib-[0-9a-f]{64}-[0-9A-Za-z]{16})",
    ),
    "package_token": Detector(
        "tokens of npm, PyPI, RubyGems, NuGet, crates.io and Docker Hub",
        r"{edge}(npm_[A-Za-z0-9]{36}|pypi-AgE[A-Za-z0-9_\-]{50,}|rubygems_[0-9a-f]{48}|oy2[a-z0-9]{43}"
        r"|cio[A-Za-z0-9]{32}|dckr_pat_[A-Za-z0-9_\-]{27})",
    ),
    "model_key": Detector(
        "keys of OpenAI, Anthropic and others that name theirs alike, and of Hugging Face and Replicate",
        r"{edge}(sk-[A-Za-z0-9_\-]{20,}|hf_[A-Za-z0-9]{30,}|r8_[A-Za-z0-9]{37}|gsk_[A-Za-z0-9]{52})",
        lambda found, _: not found.startswith(b"sk-") or is_random(found[3:]),
    ),
    "vendor_key": Detector(
        "keys of DigitalOcean, Shopify, Square, Telegram, Atlassian, Databricks, Vault, New Relic, Grafana, Sentry, "
        "Linear, Postman, Doppler, PlanetScale, Supabase, Figma and age",
        r"{edge}(do[opr]_v1_[0-9a-f]{64}|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}|sq0(?:atp|csp)-[0-9A-Za-z_\-]{22,}"
        r"|[0-9]{8,10}:AA[0-9A-Za-z_\-]{33}|ATATT3[A-Za-z0-9_\-=]{60,}|dapi[0-9a-f]{32}|hv[sbr]\.[A-Za-z0-9_\-]{24,}"
        r"|NRAK-[A-Z0-9]{27}|gl(?:sa|c)_[A-Za-z0-9+/_=]{32,}|sntry[su]_[A-Za-z0-9+/_=.\-]{40,}|lin_api_[A-Za-z0-9]{40}"
        r"|PMAK-[0-9a-f]{24}-[0-9a-f]{34}|dp\.(?:pt|st|ct)\.[A-Za-z0-9._\-]{40,}"
        r"|pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.\-]{32,}|sbp_[0-9a-f]{40}|figd_[A-Za-z0-9_\-]{40,}"
        r"|AGE-SECRET-KEY-1[0-9A-Z]{58})",
    ),
    "email": Detector(
        "e-mail addresses",
        r"{edge}([A-Za-z0-9._%+\-]+@[A-Za-z0-9](?:[A-Za-z0-9.\-]*[A-Za-z0-9])?\.[A-Za-z]{2,})",
        is_email_address,
        hint=r"[A-Za-z0-9._%+\-]@[A-Za-z0-9]",
        on=False,
    ),
    "iban": Detector(
        "numbers of bank accounts with right check digits (ISO 13616)",
        r"{edge}([A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?)",
        is_iban,
        on=False,
    ),
    "us_ssn": Detector(
        "social security numbers of the United States, written with hyphens",
        r"{edge}([0-8][0-9]{2}-[0-9]{2}-[0-9]{4})",
        is_social_security_number,
        on=False,
    ),
}
"""In the order in which they claim what several find."""

NAMED: Final = "named_secret"
"""The detector of sensitive names within strings: `password=…`, `"token":"…"`, `--api-key …`. See `naming`."""
