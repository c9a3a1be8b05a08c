"""Looks, before a process that traces starts, at what OpenTelemetry would say too late or in too many words."""

from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from service.core.errors import ConfigurationError
from service.gateways.tracing import check_installed

_PROTOCOL = "http/protobuf"
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")


def check_tracing(tracing: str, environment: Mapping[str, str]) -> None:
    """Check that this process can trace as it is asked to.

    Raises:
        ConfigurationError: OpenTelemetry is not installed, or is to speak a protocol that is not installed.
    """
    if tracing == "off":
        return
    for name in _PROTOCOLS:
        given = environment.get(name, "").strip()
        if given not in {"", _PROTOCOL}:
            raise ConfigurationError(f"{name}: expected {_PROTOCOL}; given {given}")
    check_installed(tracing)


def otlp_secrets(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield the values of the headers that a receiver of traces knows us by: each is a secret."""
    for name in _HEADERS:
        for header in environment.get(name, "").split(","):
            value = header.partition("=")[2].strip()
            yield from (value, unquote(value)) if value else (header.strip(),)
