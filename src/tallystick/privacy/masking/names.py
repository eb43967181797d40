"""Names that say that their value is a secret.

A name is cut into words, whatever way they are joined: ``api_key``, ``apiKey``, ``API-Key``, ``api.key``, ``api key``
and ``apikey`` are one name. It is sensitive when its *last* words are a term: the last word of an English compound says
what the thing is. So ``stripe_api_key`` and ``newPassword`` are, while ``token_count`` is a count, ``card_type`` a type
and ``password_changed_at`` a time. Words are compared whole: ``secretary`` and ``passport_office`` hold no term.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from tallystick.privacy.masking.expressions import compiled

_JOINT: Final = r"[ _.\-]?"
TAIL: Final = r"[ _.\-\[\]?!*0-9]{0,4}"
"""What may follow a term: a number, or the brackets of a form's field."""

_BEFORE_ALONE: Final = r"(?:(?:x|http|https|proxy|set|req|request|headers?)[ _.\-]){0,3}"
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_LETTERS: Final = re.compile(r"[^a-z0-9]")
_REMEMBERED: Final = 4096


@dataclass(frozen=True, slots=True)
class NameRule:
    """Names that mean one kind of secret.

    Attributes:
        terms: Last words of a name; words parted by a space.
        alone: The same, but nothing may stand before them in the name: their meaning is not plain enough.
        numbers: Whether a number can be such a secret; otherwise numbers under such a name are counts, and stay.
        in_text: Whether ``name=value`` within a string is looked for, too.
    """

    terms: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    numbers: bool = True
    in_text: bool = True


CREDENTIALS: Final[Mapping[str, NameRule]] = {
    "password": NameRule(
        terms=(
            *("password", "passwords", "passwd", "passphrase", "passcode", "pwd", "passwort", "kennwort"),
            *("user password", "db password", "new password", "old password", "current password", "confirm password"),
            *("password hash", "password digest", "password salt", "password confirmation", "passwd hash"),
        ),
        alone=("pass", "pw", "userpass", "pgpass"),
    ),
    "secret": NameRule(
        terms=(
            *("secret", "secrets", "client secret", "app secret", "webhook secret", "shared secret", "secret value"),
            *("credential", "credentials", "security answer", "code verifier", "client assertion"),
            *("saml response", "saml assertion"),
        ),
    ),
    "token": NameRule(
        terms=(
            *("token", "access token", "auth token", "refresh token", "id token", "session token", "bearer token"),
            *("api token", "csrf token", "token value", "token hash", "jwt", "bearer"),
        ),
    ),
    "token_list": NameRule(terms=("tokens",), numbers=False),
    "api_key": NameRule(
        terms=(
            *("api key", "api keys", "app key", "auth key", "access key", "account key", "secret key"),
            *("secret access key", "shared access key", "shared key", "subscription key", "consumer key"),
            *("service account key", "deploy key"),
        ),
    ),
    "private_key": NameRule(
        terms=(
            *("private key", "private keys", "ssh key", "pem key", "signing key", "encryption key", "decryption key"),
            *("master key", "hmac key", "symmetric key", "session key", "host key", "key material", "seed phrase"),
        ),
    ),
    "authorization": NameRule(alone=("authorization", "authorisation")),
    "cookie": NameRule(terms=("cookie", "cookies", "cookie value", "jsessionid", "phpsessid")),
    "one_time_code": NameRule(
        terms=(
            *("otp", "totp", "otp code", "otp secret", "one time password", "one time code", "mfa code", "tfa code"),
            *("2fa code", "verification code", "recovery code", "recovery codes", "backup code", "backup codes"),
            *("pin", "pin number", "pin block"),
        ),
    ),
}
"""What lets somebody in."""

CARDS: Final[Mapping[str, NameRule]] = {
    "card_number": NameRule(
        terms=(
            *("card number", "card num", "card no", "cardnumber", "cc number", "cc num", "cc no", "credit card"),
            *("creditcard", "debit card", "primary account number", "card pan"),
        ),
        alone=("ccnumber", "ccnum"),
    ),
    "card_security_code": NameRule(
        terms=(
            *("cvv", "cvc", "cvv2", "cvc2", "csc", "card code", "security code", "card verification value"),
            *("card verification code", "verification value", "track data", "track1 data", "track2 data", "magstripe"),
        ),
    ),
}
"""What pays with a card."""

NATIONAL: Final[Mapping[str, NameRule]] = {
    "national_id": NameRule(
        terms=(
            *("ssn", "social security number", "social security no", "social insurance number", "national id"),
            *("national id number", "national insurance number", "tax file number", "aadhaar number"),
        ),
    ),
}
"""Numbers that a state gave to a person."""

CARDHOLDER: Final[Mapping[str, NameRule]] = {
    "cardholder_data": NameRule(
        terms=(
            *("cardholder", "cardholder name", "card holder", "card holder name", "name on card", "card expiry"),
            *("card expiration", "card expiry date", "card expiration date", "card exp", "service code"),
        ),
        alone=("pan", "track1", "track2"),
        in_text=False,
    ),
}
"""What PCI DSS counts as cardholder data beside the number."""

PERSONAL: Final[Mapping[str, NameRule]] = {
    "email_address": NameRule(terms=("email", "e mail", "email address", "mail address"), in_text=False),
    "phone_number": NameRule(
        terms=("phone", "phone number", "phone no", "mobile number", "telephone", "telephone number", "fax number"),
        alone=("mobile", "tel"),
        in_text=False,
    ),
    "birth_date": NameRule(terms=("dob", "date of birth", "birth date", "birthdate", "birthday"), in_text=False),
    "bank_account": NameRule(
        terms=("iban", "bank account", "bank account number", "account number", "routing number", "sort code"),
        in_text=False,
    ),
    "identity_document": NameRule(
        terms=(
            *("passport number", "passport no", "driver license number", "drivers license", "driving licence number"),
            *("identity card number", "tax id", "tax number", "tax identification number", "health insurance number"),
        ),
        in_text=False,
    ),
    "personal_name": NameRule(
        terms=("first name", "last name", "full name", "given name", "family name", "surname", "maiden name"),
        in_text=False,
    ),
    "postal_address": NameRule(
        terms=("street", "street address", "postal address", "home address", "billing address", "shipping address"),
        in_text=False,
    ),
}
"""What says who somebody is, or where to find them."""

NAME_RULES: Final[Mapping[str, NameRule]] = {**CREDENTIALS, **CARDS, **NATIONAL, **CARDHOLDER, **PERSONAL}

KEPT: Final = (
    *("page token", "next token", "prev token", "previous token", "continuation token", "pagination token"),
    *("cursor token", "sync token", "idempotency token", "client request token"),
    *("stop token", "eos token", "bos token", "pad token"),
)
"""Names that end in a term and are no secrets: places in a listing, keys of a retry, marks of a language model."""

OWN: Final = "own_name"
"""The rule of the names that a tenant adds."""


def words_of(name: str) -> str:
    """A term as it is written here: its words in lower case, parted by single spaces."""
    parted = _CAMEL.sub(" ", unicodedata.normalize("NFKC", name))
    return " ".join(word for word in re.split(r"[\s_.\-]+", parted.casefold()) if word)


@dataclass(frozen=True, slots=True)
class NameTable:
    """Which names are sensitive, by term.

    Attributes:
        terms: Rule by term, for last words; an empty rule says that the name stays.
        alone: Rule by term, for whole names.
        numbers: Rules under whose names numbers are masked.
        in_text: Rules whose names are looked for within strings.
    """

    terms: Mapping[str, str]
    alone: Mapping[str, str]
    numbers: frozenset[str]
    in_text: frozenset[str]

    @classmethod
    def of(cls, rules: Iterable[str], own: Mapping[str, str], kept: Iterable[str] = ()) -> "NameTable":
        """Gather the names of some rules.

        Args:
            rules: Of `NAME_RULES`.
            own: The tenant's own terms, as `words_of` gives them, and their rules; they come before ours.
            kept: Terms that stay, likewise.
        """
        chosen = {rule: NAME_RULES[rule] for rule in rules}
        terms = {term: rule for rule, names in chosen.items() for term in names.terms}
        alone = {term: rule for rule, names in chosen.items() for term in names.alone}
        stay = dict.fromkeys(kept, "")
        return cls(
            terms={**terms, **dict.fromkeys(KEPT, ""), **own, **stay},
            alone={term: rule for term, rule in alone.items() if term not in stay},
            numbers=frozenset({*own.values(), *(rule for rule, names in chosen.items() if names.numbers)}),
            in_text=frozenset({*own.values(), *(rule for rule, names in chosen.items() if names.in_text)}),
        )

    def spellings(self) -> str:
        """An expression for every sensitive name, however its words are joined; empty if there is none."""
        sensitive = {term for term, rule in (*self.terms.items(), *self.alone.items()) if rule and term.isascii()}
        return _any_of(sensitive)

    @property
    def beyond_ascii(self) -> bool:
        """Whether a name of the tenant's own has letters that no expression here knows."""
        return any(rule and not term.isascii() for term, rule in self.terms.items())


def _any_of(terms: Iterable[str]) -> str:
    return "|".join(_JOINT.join(map(re.escape, term.split())) for term in sorted(terms))


class NameMatcher:
    """Tells which rule a name falls under.

    Args:
        table: The sensitive names.
    """

    def __init__(self, table: NameTable) -> None:
        self._table = table
        self._rule = {_LETTERS.sub("", term): rule for term, rule in (*table.alone.items(), *table.terms.items())}
        self._whole = {term: rule for term, rule in table.terms.items() if not term.isascii()}
        last = _any_of(term for term in table.terms if term.isascii())
        alone = _any_of(table.alone)
        ways = [f"(?:^|[^A-Za-z])({last}){TAIL}$"] if last else []
        ways += [f"(?:^|[/:\\[.]){_BEFORE_ALONE}({alone}){TAIL}$"] if alone else []
        self._expression = compiled("(?i:" + "|".join(ways) + ")") if ways else None
        # A name is looked up for every member of every event that is walked; there are few of them in all.
        self.rule_of = lru_cache(_REMEMBERED)(self._rule_of)

    def _rule_of(self, name: str) -> str:
        """The rule, or nothing."""
        if self._whole and not name.isascii() and (rule := self._whole.get(words_of(name))) is not None:
            return rule
        if self._expression is None:
            return ""
        # A capital begins a word, but not in `passWord` or `APIkey`.
        match = self._expression.search(_CAMEL.sub("_", name).encode()) or self._expression.search(name.encode())
        if match is None:
            return ""
        groups = 2 if self._table.alone and self._table.terms else 1
        found = next(match.group(group) for group in range(1, groups + 1) if match.span(group) != (-1, -1))
        return self._rule[_LETTERS.sub("", found.decode("ascii").lower())]

    def masks_numbers(self, rule: str) -> bool:
        """Whether a number under a name of this rule is a secret."""
        return rule in self._table.numbers

    def in_text(self, rule: str) -> bool:
        """Whether names of this rule count within strings."""
        return rule in self._table.in_text
