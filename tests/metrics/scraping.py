"""Reads what a process shows at ``/metrics``."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import aiohttp
from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, slots=True)
class Scraped:
    """The samples of one scrape, or of several put together."""

    samples: Mapping[tuple[str, frozenset[tuple[str, str]]], float]

    def value(self, name: str, **labels: str) -> float:
        """Return a sample by its name and all its labels."""
        return self.samples[name, frozenset(labels.items())]

    def by(self, name: str, label: str) -> dict[str, float]:
        """Return the samples of a name by the value of one label, 0 left out, others added up."""
        found: dict[str, float] = {}
        for (sample, labels), value in self.samples.items():
            if sample == name and value:
                key = dict(labels)[label]
                found[key] = found.get(key, 0) + value
        return found

    @property
    def names(self) -> set[str]:
        """The names of all samples."""
        return {name for name, _ in self.samples}


async def scrape(url: str) -> Scraped:
    """Scrape a process, which must answer."""
    async with aiohttp.request("GET", f"{url}/metrics") as response:
        text = await response.text()
        assert response.status == 200, text
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return Scraped(dict(_samples_of(text)))


def _samples_of(text: str) -> Iterable[tuple[tuple[str, frozenset[tuple[str, str]]], float]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield (sample.name, frozenset(sample.labels.items())), sample.value
