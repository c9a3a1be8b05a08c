"""Writes figures as the text that Prometheus reads."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from service.core.gauges import Whole
from service.gateways.metrics.process import Metrics
from service.gateways.metrics.whole import families_of

#: When each counter was made: of no use to us, and as many series again.
_CREATED = "_created"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """An answer to Prometheus, in the form that it asked for."""

    body: bytes
    content_type: str


class _All(Collector):
    """The figures of the process and of the whole, without those that nobody needs."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            family.samples = [sample for sample in family.samples if not sample.name.endswith(_CREATED)]
            yield family


def expose(metrics: Metrics, whole: Whole, *, accept: str) -> Scrape:
    """Write all figures; ``accept`` is the header of that name."""
    encode, content_type = choose_encoder(accept)
    families = _All([*metrics.registry.collect(), *families_of(whole)])
    return Scrape(body=encode(families), content_type=content_type)
