"""Secrets as people log them by mistake, and decoys that only look alike: what the rules of masking are measured on.

Every secret is drawn by lot when the corpus is made, from the same seed, and put together of parts: the text of this
file holds none that a scanner could take for a real one.
"""

import base64
import json
import random
import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

ALNUM = string.ascii_letters + string.digits
URL_SAFE = ALNUM + "-_"
HEX = "0123456789abcdef"


@dataclass(frozen=True)
class Sample:
    """An event.

    Attributes:
        rule: The rule that should find the secret; of a decoy, the one that it was made to deceive.
        event: Fields that are masked.
        secret: What must not be left; None where the event must stay as it is.
        hard: Nothing gives the secret away, so that most of these are missed.
    """

    rule: str
    event: dict[str, Any]
    secret: str | None
    hard: bool = False


@dataclass
class Lot:
    """Draws by lot, the same from the same seed."""

    random: random.Random

    def text(self, length: int, letters: str = ALNUM) -> str:
        return "".join(self.random.choices(letters, k=length))

    def token(self, length: int, letters: str = ALNUM) -> str:
        """As `text`, but with digits and both cases, as almost every key has."""
        return self.text(length - 6, letters) + "a7B" + self.text(1, string.digits) + "xQ"

    def digits(self, length: int) -> str:
        return self.text(length, string.digits)

    def card(self, prefix: str, length: int) -> str:
        """A number with a right check digit (Luhn)."""
        body = prefix + self.digits(length - len(prefix) - 1)
        doubled = [sum(divmod(2 * int(digit), 10)) for digit in body[::-2]]
        return body + str(-(sum(doubled) + sum(map(int, body[-2::-2]))) % 10)

    def jwt(self) -> str:
        def part(value: object) -> str:
            return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

        header, payload = part({"alg": "HS256", "typ": "JWT"}), part({"sub": self.text(8), "exp": 1_900_000_000})
        return f"{header}.{payload}.{self.text(43, URL_SAFE)}"

    def pem(self) -> str:
        key = self.random.choice([ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()])
        form = serialization.PrivateFormat.PKCS8
        return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode().strip()

    def iban(self, country: str, length: int) -> str:
        body = self.digits(length - 4)
        number = int("".join(str(int(character, 36)) for character in f"{body}{country}00"))
        return f"{country}{98 - number % 97:02}{body}"


def _keys(lot: Lot) -> Iterator[tuple[str, str]]:
    """Rule and value of secrets that give themselves away."""
    yield "aws_key", "AKIA" + lot.text(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
    yield "aws_key", "ASIA" + lot.text(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") + ":" + lot.token(40)
    yield "google_key", "AIza" + lot.text(35, URL_SAFE)
    yield "google_key", "ya29." + lot.token(60, URL_SAFE)
    yield "google_key", "GOCSPX-" + lot.text(28, URL_SAFE)
    yield "azure_key", "AccountKey=" + lot.text(86, ALNUM + "+/") + "=="
    yield "azure_key", lot.text(3) + "8Q~" + lot.text(34, URL_SAFE)
    yield "azure_key", "https://x.blob.example/c?sv=2026&sig=" + lot.text(43) + "%3D"
    for kind in "posur":
        yield "github_token", f"gh{kind}_" + lot.text(36)
    yield "github_token", "github_pat_" + lot.text(22) + "_" + lot.text(59)
    yield "github_token", "glpat-" + lot.token(20, URL_SAFE)
    yield "slack_token", "xoxb-" + lot.digits(12) + "-" + lot.digits(12) + "-" + lot.text(24)
    yield "slack_token", "https://hooks.slack.com/services/T" + lot.text(8, "ABC123") + "/B0X/" + lot.text(24)
    for kind in ("sk_live_", "sk_test_", "rk_live_"):
        yield "stripe_key", kind + lot.text(24)
    yield "stripe_key", "whsec_" + lot.text(32)
    yield "mail_key", "SK" + lot.text(32, HEX)
    yield "mail_key", "SG." + lot.text(22, URL_SAFE) + "." + lot.text(43, URL_SAFE)
    yield "mail_key", "key-" + lot.text(32, HEX)
    yield "package_token", "npm_" + lot.text(36)
    yield "package_token", "pypi-AgEIcHlwaS5vcmc" + lot.text(80, URL_SAFE)
    yield "package_token", "rubygems_" + lot.text(48, HEX)
    yield "model_key", "sk-" + lot.token(48)
    yield "model_key", "sk-proj-" + lot.token(80, URL_SAFE)
    yield "model_key", "sk-ant-api03-" + lot.token(90, URL_SAFE)
    yield "model_key", "hf_" + lot.text(34, string.ascii_letters)
    yield "vendor_key", "dop_v1_" + lot.text(64, HEX)
    yield "vendor_key", "shpat_" + lot.text(32, HEX)
    yield "vendor_key", lot.digits(10).replace("0", "1") + ":AA" + lot.text(33, URL_SAFE)
    yield "vendor_key", "hvs." + lot.text(90, URL_SAFE)
    yield "vendor_key", "dapi" + lot.text(32, HEX)
    yield "vendor_key", "NRAK-" + lot.text(27, string.ascii_uppercase + string.digits)
    yield "vendor_key", "glsa_" + lot.text(32) + "_" + lot.text(8, HEX)
    yield "vendor_key", "lin_api_" + lot.text(40)
    yield "vendor_key", "AGE-SECRET-KEY-1" + lot.text(58, string.ascii_uppercase + string.digits)
    yield "jwt", lot.jwt()
    yield "private_key_block", lot.pem()
    for prefix, length in (("4", 16), ("51", 16), ("2221", 16), ("34", 15), ("37", 15), ("36", 14), ("3528", 16)):
        yield "payment_card", lot.card(prefix, length)
    for prefix, length in (("6011", 16), ("65", 16), ("62", 16), ("62", 19), ("2200", 16), ("6304", 16)):
        yield "payment_card", lot.card(prefix, length)
    number = lot.card("4", 16)
    yield "payment_card", " ".join(number[i : i + 4] for i in range(0, 16, 4))
    yield "payment_card", "-".join(number[i : i + 4] for i in range(0, 16, 4))
    number = lot.card("37", 15)
    yield "payment_card", f"{number[:4]} {number[4:10]} {number[10:]}"
    yield "email", f"{lot.text(6, string.ascii_lowercase)}.{lot.text(5, string.ascii_lowercase)}+x@mail.example.com"
    yield "iban", lot.iban("DE", 22)
    yield "iban", lot.iban("FR", 27)
    yield "us_ssn", f"{lot.random.randint(1, 665):03}-{lot.random.randint(1, 99):02}-{lot.random.randint(1, 9999):04}"


def _places(value: str) -> Iterator[dict[str, Any]]:
    """Where a secret may stand in an event."""
    yield {"message": value}
    yield {"message": f"It failed with {value}, then stopped.", "metadata": {"n": 1}}
    yield {"message": f"first line\n{value}\nlast line"}
    yield {"user_agent": f"tool/1.0 ({value})"}
    yield {"metadata": {"note": value, "other": "stays"}}
    yield {"after": {"list": [1, {"deep": [["x", f"<{value}>"]]}]}}
    yield {"before": {"ключ": f"„{value}“"}}
    yield {"metadata": {"raw": json.dumps({"a": [value]})}}


def _written(lot: Lot) -> Iterator[Sample]:
    """Secrets that need more than themselves to be known."""
    for _ in range(3):
        token = lot.token(30)
        for event in ({"message": f"Authorization: Bearer {token}"}, {"metadata": {"args": f"-H 'bearer {token}'"}}):
            yield Sample("bearer_token", event, token)
        basic = base64.b64encode(f"ada:{lot.token(12)}".encode()).decode()
        yield Sample("basic_credentials", {"message": f"sent Basic {basic} to the proxy"}, basic)
        for scheme in ("postgres", "mongodb+srv", "amqp", "redis", "https", "jdbc:mysql"):
            secret = lot.token(14, ALNUM + "!$*")
            for event in _places(f"{scheme}://app:{secret}@db.internal:5432/shop?x=1"):
                yield Sample("url_password", event, secret)


PASSWORD_NAMES = ("password", "Password", "newPassword", "db_password", "DB-PASSWORD", "user.password", "old password")
NAMES = {
    "password": (
        *PASSWORD_NAMES,
        "passwd",
        "passphrase",
        "PGPASS",
        "password1",
        "passWord",
        "password_hash",
        "userPwd",
    ),
    "secret": ("secret", "clientSecret", "client-secret", "CLIENT_SECRET", "credentials", "securityAnswer"),
    "token": ("token", "accessToken", "refresh_token", "X-Auth-Token", "id token", "csrfToken", "jwt"),
    "api_key": ("apiKey", "api_key", "API-KEY", "x-api-key", "apikey", "APIkey", "AccountKey", "secretAccessKey"),
    "private_key": ("private_key", "privateKey", "signingKey", "encryption-key", "ssh_key"),
    "authorization": ("authorization", "Authorization", "headers.authorization", "http.request.header.authorization"),
    "cookie": ("cookie", "Set-Cookie", "sessionCookie", "cookies"),
    "one_time_code": ("otp", "mfaCode", "verification_code", "recoveryCodes", "pin"),
    "card_number": ("card_number", "cardNumber", "creditCardNumber", "cc-number", "primaryAccountNumber"),
    "card_security_code": ("cvv", "CVC", "cvv2", "card_verification_value"),
    "national_id": ("ssn", "SSN", "socialSecurityNumber", "user_ssn"),
    "cardholder_data": ("cardholderName", "card_expiry", "pan"),
    "email_address": ("email", "userEmail", "e-mail", "email_address"),
    "phone_number": ("phone", "phoneNumber", "mobile"),
    "birth_date": ("dateOfBirth", "dob", "birthday"),
    "bank_account": ("iban", "bank_account_number"),
    "identity_document": ("passportNumber", "tax_id"),
    "personal_name": ("firstName", "last_name", "surname"),
    "postal_address": ("street", "shippingAddress"),
}
"""Names by rule."""


def _named(lot: Lot) -> Iterator[Sample]:
    """Secrets whose name tells."""
    for rule, names in NAMES.items():
        for name in names:
            secret = lot.text(5, string.ascii_lowercase) + " " + lot.text(5, string.ascii_lowercase)
            yield Sample(rule, {"metadata": {name: secret, "n": 1}}, secret)
            yield Sample(rule, {"after": {"a": [{"b": {name: secret}}]}}, secret)
            yield Sample(rule, {"before": {"changes": [{"field": name, "old": secret, "new": secret}]}}, secret)
            yield Sample(rule, {"metadata": {name: {"value": [secret]}}}, secret)
    number = lot.digits(9)
    for rule, name in (("national_id", "ssn"), ("card_security_code", "cvv"), ("one_time_code", "otp")):
        yield Sample(rule, {"metadata": {name: int("7" + number)}}, number)


def _in_text(lot: Lot) -> Iterator[Sample]:
    """Secrets that a name within a string announces."""
    for rule, name in (
        ("password", "password"),
        ("token", "access_token"),
        ("api_key", "apiKey"),
        ("secret", "secret"),
    ):
        for text in (
            "{name}={secret}",
            "GET /x?a=1&{name}={secret}&b=2",
            "run --user ada --{name}={secret} -v",
            '{{"user":"ada","{name}":"{secret}"}}',
            "{{'{name}': '{secret}'}}",
            "host=db;{name}={secret};timeout=3",
            "{name}: {secret}",
            '{name} = "{secret}"',
            "<{name}>{secret}</{name}>",
        ):
            secret = lot.token(12)
            yield Sample(rule, {"message": text.format(name=name, secret=secret)}, secret)
            yield Sample(rule, {"metadata": {"body": [text.format(name=name, secret=secret)]}}, secret)
    secret = lot.token(12)
    yield Sample("password", {"message": f"psql --db-password {secret} -c x"}, secret)
    yield Sample("cookie", {"message": f"GET / HTTP/1.1\r\nCookie: a=1; session={secret}\r\nHost: x"}, secret)
    yield Sample("password", {"metadata": {"body": json.dumps({"x": json.dumps({"password": secret})})}}, secret)


def _hard(lot: Lot) -> Iterator[Sample]:
    """Secrets that look like nothing, or go by names that no table has: most of these are missed."""
    secret = lot.text(10, string.ascii_lowercase)
    for text in ("the password is {}", "Password: {}", "login ada/{}", "pass {} to curl", "pw {}"):
        yield Sample("password", {"message": text.format(secret)}, secret, hard=True)
    for name in ("mypasswd", "contraseña", "mot_de_passe", "wachtwoord", "login_pwd_plain"):
        yield Sample("password", {"metadata": {name: secret}}, secret, hard=True)
    token = lot.text(32, string.ascii_lowercase)
    yield Sample("bearer_token", {"message": f"Bearer {token}"}, token, hard=True)
    yield Sample("token", {"metadata": {"tok": token}}, token, hard=True)
    yield Sample("token", {"message": f"token is {token}"}, token, hard=True)
    key = lot.token(40, ALNUM + "/+")
    yield Sample("aws_key", {"message": f"the secret part is {key}"}, key, hard=True)
    yield Sample("api_key", {"metadata": {"key": key}}, key, hard=True)
    number = lot.card("4", 19)
    yield Sample("payment_card", {"message": f"paid by {number}"}, number, hard=True)
    number = lot.card("4", 16)
    yield Sample("payment_card", {"message": f"paid by {number[:4]}.{number[4:8]}.{number[8:]}"}, number[8:], hard=True)
    yield Sample("payment_card", {"message": f"paid by {number[:6]} {number[6:]}"}, number[6:], hard=True)
    wrapped = base64.b64encode(f"password={key}".encode()).decode()
    yield Sample("password", {"metadata": {"payload": wrapped}}, wrapped, hard=True)
    user = f"{lot.text(5, string.ascii_lowercase)} at mail.example.com"
    yield Sample("email", {"message": user}, user, hard=True)


def _decoys(lot: Lot) -> Iterator[tuple[str, dict[str, Any]]]:
    """Events that must stay as they are, and the rule that might be taken in."""
    for rule, text in (
        ("password", "Password changed by its owner"),
        ("password", "Password: changed"),
        ("password", "Wrong password, third attempt: 3 left"),
        ("password", "Password policy relaxed: length 8"),
        ("token", "Token: expired"),
        ("token", "The token is valid: all is well"),
        ("token", "used tokens=1500 of 4000"),
        ("secret", "The secret: patience!"),
        ("bearer_token", "Bearer of bad news, or bearer internationalization"),
        ("basic_credentials", "Basic authentication is off; basic subscription renewed"),
        ("url_password", "See https://example.com:8443/a@b and mailto:ada@example.com"),
        ("url_password", "git@github.example:acme/shop.git, ssh://git@host:22/x"),
        ("jwt", "eyJoZWxsbyI6IndvcmxkIiwibiI6MX0.is.not.one"),
        ("private_key_block", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"),
        ("private_key_block", "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----"),
        ("aws_key", "arn:aws:iam::123456789012:role/AKIA"),
        ("model_key", "css class sk-fading-circle-container"),
        ("stripe_key", "task_live_view opened, risk_test_suite_of_2026 run"),
        ("github_token", "branch ghp_feature merged"),
        ("vendor_key", "2026:AA is no bot"),
        ("cookie", "Cookie: accepted"),
    ):
        yield rule, {"message": text}
        yield rule, {"metadata": {"text": [text]}}
    for rule, name, value in (
        ("token", "token_count", "1500"),
        ("token", "token_type", "bearer_kind"),
        ("token", "next_page_token", "abc"),
        ("token_list", "max_tokens", 4096),
        ("token_list", "tokens", {"prompt": 3, "completion": 4}),
        ("password", "passport_office", "Berlin"),
        ("password", "password_changed_at", "2026-01-01"),
        ("password", "password_policy", "long"),
        ("password", "has_password", True),
        ("password", "password", None),
        ("password", "password", "********"),
        ("password", "bypass", "north"),
        ("secret", "secretary", "Grace"),
        ("secret", "secret_name", "db-prod"),
        ("card_number", "card_type", "visa"),
        ("card_number", "card_id", "c-17"),
        ("card_number", "business_card", "yes, please"),
        ("api_key", "api_key_id", "k-17"),
        ("api_key", "key", "invoice-17"),
        ("api_key", "primary_key", "id"),
        ("private_key", "public_key", "ssh-ed25519 AAAA"),
        ("authorization", "payment_authorization", "granted"),
        ("authorization", "authorization_level", "3"),
        ("cookie", "cookie_consent", "given"),
        ("one_time_code", "pinned", "top"),
        ("one_time_code", "spin", "left"),
        ("national_id", "session", "s-1"),
        ("email_address", "email_count", "3"),
        ("phone_number", "phone_type", "mobile phone"),
        ("personal_name", "file_name", "a.txt"),
        ("postal_address", "ip_address_kind", "v4"),
        ("bank_account", "account_type", "savings"),
        # These are taken for secrets: a name alone cannot tell.
        ("token", "revoked_token", "tok-17"),
        ("secret", "secret", "santa"),
        ("authorization", "authorization", "granted"),
        ("cookie", "cookie", "chocolate"),
        ("one_time_code", "gpio_pin", "A4"),
        ("postal_address", "street", "unnamed"),
    ):
        yield rule, {"metadata": {name: value}}
        yield rule, {"after": {"nested": [{name: value}]}}
    for _ in range(200):
        yield "payment_card", {"metadata": {"at_ms": 1_700_000_000_000 + lot.random.randrange(10**11)}}
        yield "payment_card", {"metadata": {"at_us": f"17{lot.digits(14)}"}}
        yield "payment_card", {"metadata": {"ratio": lot.random.random(), "text": str(lot.random.random())}}
        parts = [lot.text(length, HEX) for length in (8, 4, 4, 4, 12)]
        yield "payment_card", {"metadata": {"uuid": "-".join(parts)}}
        yield "payment_card", {"metadata": {"sha256": lot.text(64, HEX), "order": f"ord-{lot.digits(10)}"}}
        yield "payment_card", {"metadata": {"snowflake": 10**18 + lot.random.randrange(10**18)}}
        yield "payment_card", {"metadata": {"caller": f"+49{lot.digits(10)}"}}
        yield "payment_card", {"metadata": {"big_id": lot.digits(16)}}
        yield (
            "us_ssn",
            {"metadata": {"day": f"2026-{lot.digits(2)}-{lot.digits(2)}", "pages": f"{lot.digits(3)}-{lot.digits(3)}"}},
        )
        yield "iban", {"metadata": {"ref": f"AB{lot.digits(2)}{lot.text(16, string.ascii_uppercase + string.digits)}"}}
        yield "email", {"message": f"{lot.text(4)} @ {lot.text(6)} and a@b"}
        yield "model_key", {"metadata": {"git": lot.text(40, HEX), "slug": "task-list-of-the-day"}}


def corpus(seed: int = 8) -> Iterator[Sample]:
    """All samples: secrets, then decoys."""
    lot = Lot(random.Random(seed))  # noqa: S311 - none of these secrets opens anything
    for _ in range(4):
        for rule, value in _keys(lot):
            for event in _places(value):
                yield Sample(rule, event, _core(rule, value))
    yield from _written(lot)
    yield from _named(lot)
    yield from _in_text(lot)
    yield from _hard(lot)
    for rule, event in _decoys(lot):
        yield Sample(rule, event, None)


def _core(rule: str, value: str) -> str:
    """What of a value is the secret itself."""
    if rule == "private_key_block":
        return value.splitlines()[1]
    if rule == "azure_key":
        return value.partition("Key=")[2] or value.partition("sig=")[2] or value
    return value.partition("services/")[2] or value
