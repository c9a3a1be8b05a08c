"""The words of the console, in the languages that it speaks."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_DIRECTORY = Path(__file__).parent / "words"
DEFAULT_LANGUAGE = "en"
#: By the tag of BCP 47: the name of the language in itself.
LANGUAGES = {"en": "English", "zh-CN": "简体中文"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The texts of one language by their names."""

    language: str
    texts: Mapping[str, str]

    def __call__(self, name: str, **values: object) -> str:
        """Return a text, with values in the places that it has for them.

        Raises:
            KeyError: there is no such text.
        """
        text = self.texts[name]
        return text.format_map(values) if values else text

    def of(self, prefix: str, name: object) -> str:
        """Return the word for a value of a closed set, such as a state; where there is none, the value itself."""
        return self.texts.get(f"{prefix}.{name}", str(name))


def load_words() -> dict[str, Words]:
    """Read the texts of all languages."""
    return {language: _load(language) for language in LANGUAGES}


def _load(language: str) -> Words:
    texts = json.loads((_DIRECTORY / f"{language}.json").read_text(encoding="utf-8"))
    return Words(language=language, texts=texts)


def choose_language(chosen: str | None, accepted: str) -> str:
    """Return the language that was chosen, else the first that ``Accept-Language`` names (RFC 9110, 12.5.4)."""
    if chosen in LANGUAGES:
        return chosen
    for wanted in _by_weight(accepted):
        for language in LANGUAGES:
            if wanted.partition("-")[0].lower() == language.partition("-")[0]:
                return language
    return DEFAULT_LANGUAGE


def _by_weight(accepted: str) -> list[str]:
    ranges = [part.strip().partition(";") for part in accepted[:200].split(",")]
    weighed = [(name.strip(), _weight(parameters)) for name, _, parameters in ranges if name.strip()]
    return [name for name, weight in sorted(weighed, key=lambda one: -one[1]) if weight > 0]


def _weight(parameters: str) -> float:
    _, _, text = parameters.partition("q=")
    try:
        return float(text) if text else 1.0
    except ValueError:
        return 0.0
