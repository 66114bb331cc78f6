"""Where the service is and which key it wants: an argument, then the environment, then the file, then the default.

The file is `~/.config/mlpq/config.toml` (`XDG_CONFIG_HOME` is honoured):

    url = "http://127.0.0.1:8000"

    [profiles.lab]
    url = "https://mlpq.example.org"
    key = "…"                          # or key_file = "~/.config/mlpq/lab.key"

`MLPQ_PROFILE` or `profile = "lab"` in the file chooses a profile. A key of the file goes to the address that stands
beside it, and to no other.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlpq.addresses import DEFAULT_URL
from mlpq.errors import InvalidArgumentError

SETTINGS = ("url", "key", "key_file")
HINT = "`mlpq config` shows what holds, and where it stands"


@dataclass(frozen=True)
class Setting:
    """A value and where it comes from; None where nobody gave one."""

    value: str | None
    source: str


@dataclass(frozen=True)
class Config:
    """What holds.

    Attributes:
        url: the service's address.
        key: the API key.
        profile: the chosen part of the file.
        path: the file, whether or not it is there.
        warnings: sentences about keys that others can read.
    """

    url: Setting
    key: Setting
    profile: Setting
    path: Path
    warnings: tuple[str, ...]


def config_path() -> Path:
    """Where the file is, or would be."""
    folder = os.environ.get("XDG_CONFIG_HOME")
    return (Path(folder) if folder else _home() / ".config") / "mlpq" / "config.toml"


def _home() -> Path:
    """The user's folder; in a container a user may have none."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("~")


def resolve(url: str | None = None, api_key: str | None = None, profile: str | None = None) -> Config:
    """What holds for these arguments in this environment.

    Raises:
        InvalidArgumentError: the file cannot be read, holds what it should not, or lacks the profile; or that is no
            address, or no key.
    """
    path = config_path()
    document = _read(path)
    asked = os.environ.get
    chosen = _first(
        (profile, "argument profile"), (asked("MLPQ_PROFILE"), "MLPQ_PROFILE"), (document.get("profile"), str(path))
    )
    part, place = _part(document, chosen, path)
    offers = (
        (url, "argument url"),
        (asked("MLPQ_URL"), "MLPQ_URL"),
        (part.get("url"), place),
        (DEFAULT_URL, "default"),
    )
    found = _first(*offers)
    address = Setting(str(found.value).rstrip("/"), found.source)
    if not str(address.value).startswith(("http://", "https://")):
        raise InvalidArgumentError(f"url is {address.value!r}; must start with http:// or https://", _url_hint(address))
    key = _first((api_key, "argument api_key"), (_first_of_several(asked("MLPQ_API_KEY")), "MLPQ_API_KEY"))
    warnings: tuple[str, ...] = ()
    if key.value is None and address.value == str(part.get("url") or DEFAULT_URL).rstrip("/"):
        key, warnings = _key_of(part, place, path)
    if key.value is not None and not (key.value.isascii() and key.value.isprintable()):
        raise InvalidArgumentError("the API key holds what no header can; must be ASCII", f"it comes from {key.source}")
    return Config(address, key, chosen, path, warnings)


def _url_hint(address: Setting) -> str:
    return "" if address.source.startswith("argument") else f"it comes from {address.source}"


def _first(*offers: tuple[Any, str]) -> Setting:
    return next((Setting(str(value), source) for value, source in offers if value), Setting(None, "nowhere"))


def _first_of_several(keys: str | None) -> str | None:
    """A service takes several keys, comma-separated; a client sends one."""
    return (keys or "").partition(",")[0].strip() or None


def _read(path: Path) -> dict[str, Any]:
    """The file's content, checked; empty where there is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        if isinstance(error, PermissionError) and not os.access(path.parent, os.X_OK):
            return {}  # somebody else's folder
        raise InvalidArgumentError(f"{path} cannot be read: {error}", HINT) from error
    import tomllib

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        like = 'a line is like url = "http://127.0.0.1:8000"'
        raise InvalidArgumentError(f"{path} is no TOML: {error}", like) from error
    profiles = document.get("profiles", {})
    if not isinstance(profiles, Mapping) or not all(isinstance(part, Mapping) for part in profiles.values()):
        raise InvalidArgumentError(f"{path}: profiles must be tables, like [profiles.lab]")
    _check(path, "", {name: value for name, value in document.items() if name != "profiles"}, (*SETTINGS, "profile"))
    for name, part in profiles.items():
        _check(path, f"profiles.{name}.", part, SETTINGS)
    return document


def _check(path: Path, prefix: str, part: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    for name, value in part.items():
        if name not in allowed:
            raise InvalidArgumentError(f"{path}: {prefix}{name} is no setting", f"settings are {', '.join(allowed)}")
        if not isinstance(value, str):
            raise InvalidArgumentError(f"{path}: {prefix}{name} is {value!r}; must be text in quotes")


def _part(document: Mapping[str, Any], chosen: Setting, path: Path) -> tuple[Mapping[str, Any], str]:
    """The settings that the file gives, and how their place is called."""
    if chosen.value is None:
        return document, str(path)
    profiles = document.get("profiles", {})
    if chosen.value not in profiles:
        known = ", ".join(profiles) or "none"
        said = f"{path} has no profile {chosen.value!r} ({chosen.source})"
        raise InvalidArgumentError(said, f"profiles there: {known}")
    return profiles[chosen.value], f"{path} [profiles.{chosen.value}]"


def _key_of(part: Mapping[str, Any], place: str, path: Path) -> tuple[Setting, tuple[str, ...]]:
    """The file's key, and whether others on this machine can read it."""
    if part.get("key"):
        return Setting(str(part["key"]), place), _exposed(path)
    if not part.get("key_file"):
        return Setting(None, "nowhere"), ()
    file = Path(part["key_file"]).expanduser()
    try:
        key = (path.parent / file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"the key file {file} cannot be read: {error}", f"it is named in {place}") from error
    return Setting(key or None, str(file)), _exposed(path.parent / file)


def _exposed(path: Path) -> tuple[str, ...]:
    if os.name == "posix" and path.stat().st_mode & 0o077:
        return (f"{path} holds a key and can be read by others: chmod 600 {path}",)
    return ()
