"""What a person meant: by a word that is no command, by an option in another place than its own."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

SYNONYMS = {
    word: command
    for command, words in {
        "up": "start serve server daemon",
        "train": "run fit submit new create queue",
        "fork": "retrain finetune fine-tune warm-start",
        "sweep": "search grid tune hyperopt",
        "datasets": "data dataset sets",
        "upload": "add import ingest push",
        "jobs": "list ls ps history runs",
        "show": "status info describe inspect job",
        "watch": "log logs follow tail attach events curve progress",
        "cancel": "stop kill abort end",
        "pause": "suspend hold",
        "resume": "continue unpause",
        "top": "workers monitor htop",
        "weights": "download export save model get fetch",
        "predict": "infer inference apply",
        "evaluate": "test score eval validate metrics",
        "explain": "plot draw confusion importance",
        "capabilities": "options activations optimizers losses",
        "config": "configure settings login profile profiles",
        "--help": "help man usage",
    }.items()
    for word in words.split()
}
"""What other programs call it, and what it is here."""


_PLACES = {
    ("--profile", False): "before the command: mlpq --profile NAME jobs",
    ("--url", True): "behind the command: mlpq jobs --url URL",
    ("--json", True): "behind the command: mlpq jobs --json",
}
"""Where an option stands that came behind a command (False) or before it (True)."""


def meant(word: str, commands: Iterable[str]) -> str:
    """The end of a sentence about a word that is no command, if one of `commands` is near."""
    word = word.lower()
    near = [SYNONYMS[word]] if word in SYNONYMS else get_close_matches(word, commands)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def place_of(option: str, before_command: bool) -> str:
    """Where an unknown option would be known, for those that come in a wrong place; empty for others."""
    place = _PLACES.get((option, before_command))
    return f"{option} stands {place}" if place else ""
