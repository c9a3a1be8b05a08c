"""Writes figures as the text that Prometheus reads."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from service.core.gauges import Whole
from service.gateways.metrics.process import Metrics
from service.gateways.metrics.whole import families_of


class Form(StrEnum):
    """How figures are written, as the client library is asked for it."""

    TEXT = ""
    OPENMETRICS = "application/openmetrics-text; version=1.0.0"


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


def form_for(accept: str) -> Form:
    """Return the form for a caller who sends this ``Accept``."""
    return Form.OPENMETRICS if "application/openmetrics-text" in accept else Form.TEXT


def expose(metrics: Metrics, whole: Whole, *, form: Form) -> Scrape:
    """Write all figures."""
    encode, content_type = choose_encoder(form.value)
    families = _All([*metrics.registry.collect(), *families_of(whole)])
    return Scrape(body=encode(families), content_type=content_type)
