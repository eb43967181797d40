"""Where the secret keys are: files in a folder, or a bundle that came as an environment variable.

A bundle is one JSON object of kind to the content of its key file (see `auth.keys`). It is for platforms that hand
secrets over so. Nobody writes to it: keys are rotated by making a new bundle, which processes take up at their start.
"""

import json
from typing import Any, TypeAlias, cast

from tallystick.auth.keys import (
    FIRST_RUN_KINDS,
    GivenKeys,
    KeyKind,
    Keyring,
    key_path,
    load_or_create,
    read_keys,
    rotate,
    with_new_key,
)
from tallystick.errors import ConfigurationError
from tallystick.settings import Settings

Bundle: TypeAlias = dict[KeyKind, dict[str, Any]]

_VARIABLE = "TALLYSTICK_KEY_FILES"
_MAKE = "`tallystick keys bundle` makes one of the key folder, and with `--new` one of new keys"


def open_keyring(settings: Settings) -> Keyring:
    """Open the keys: those that were handed over, else the files of the key folder, made when absent.

    Raises:
        ConfigurationError: Both were named; or see `auth.keys.load_or_create` and `read_bundle`.
    """
    if settings.key_files is None:
        return load_or_create(settings.key_folder)
    if settings.key_dir is not None:
        raise ConfigurationError(f"TALLYSTICK_KEY_DIR and {_VARIABLE} both say where the keys are: unset one of them")
    bundle = read_bundle(settings.key_files.get_secret_value())
    return Keyring.of(
        {kind: GivenKeys(kind, read_keys(bundle[kind], kind, f"`{kind}` in {_VARIABLE}")) for kind in bundle}
    )


def rotate_keys(settings: Settings, kind: KeyKind, *, drop_old: bool = False) -> str:
    """Add a new key to a key file; see `auth.keys.rotate`.

    Raises:
        ConfigurationError: The keys are no files; or see there.
    """
    if settings.key_files is not None:
        raise ConfigurationError(
            f"the keys come from {_VARIABLE}, which no command can change: make a new bundle with"
            f" `tallystick keys bundle --rotate {kind}`, and start all processes anew with it"
        )
    return rotate(settings.key_folder, kind, drop_old=drop_old)


def bundle_in_use(settings: Settings) -> Bundle:
    """The keys that processes with these settings use, as a bundle.

    Raises:
        ConfigurationError: There are none yet, or they are damaged.
    """
    paths = {kind: key_path(settings.key_folder, kind) for kind in KeyKind}
    if settings.key_files is None and not any(path.exists() for path in paths.values()):
        raise ConfigurationError(f"there are no keys in {settings.key_folder}: `--new` makes new ones")
    open_keyring(settings)  # says what is wrong with them
    if settings.key_files is not None:
        return read_bundle(settings.key_files.get_secret_value())
    return {kind: json.loads(path.read_bytes()) for kind, path in paths.items() if path.exists()}


def new_bundle() -> Bundle:
    """New keys of all kinds that must be there."""
    return {kind: with_new_key(kind) for kind in FIRST_RUN_KINDS}


def read_bundle(text: str) -> Bundle:
    """Read a bundle; the contents of its files are not looked at.

    Raises:
        ConfigurationError: It is no JSON object, or a kind is missing or not known. Nothing of it is repeated.
    """
    try:
        parsed: object = json.loads(text)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise ConfigurationError(f"{_VARIABLE} is no JSON object of kinds of keys: {_MAKE}")
    held = cast("dict[str, dict[str, Any]]", parsed)
    unknown = held.keys() - set(KeyKind)
    if unknown:
        raise ConfigurationError(f"{_VARIABLE} has what is no kind of keys; there are {', '.join(KeyKind)}: {_MAKE}")
    missing = [kind for kind in FIRST_RUN_KINDS if kind not in held]
    if missing:
        raise ConfigurationError(f"{_VARIABLE} has no {' and no '.join(missing)}: {_MAKE}")
    return {KeyKind(kind): content for kind, content in held.items()}
