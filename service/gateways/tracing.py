"""Opens the tracer that the settings ask for. OpenTelemetry is imported where it is asked for, and nowhere else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module

from service.core.errors import ConfigurationError
from service.core.tracing import NoTracer, Tracer

_IMPLEMENTATION = "service.gateways.otlp"


@asynccontextmanager
async def open_tracer(tracing: str, *, instance: str) -> AsyncIterator[Tracer]:
    """Open the tracer for ``RELEASE_TRACING``; at the end what is left is handed over.

    Args:
        tracing: ``off`` or ``otlp``.
        instance: Names this process among those of the service.

    Raises:
        ConfigurationError: OpenTelemetry is not installed.
    """
    if tracing == "off":
        yield NoTracer()
        return
    check_installed(tracing)
    tracer: Tracer = import_module(_IMPLEMENTATION).OtlpTracer(instance=instance)
    try:
        yield tracer
    finally:
        await tracer.close()


def check_installed(tracing: str) -> None:
    """Check that what traces is installed.

    Raises:
        ConfigurationError: it is not.
    """
    if tracing == "off":
        return
    try:
        import_module(_IMPLEMENTATION)
    except ImportError as error:
        missing = (error.name or "opentelemetry").partition(".")[0]
        raise ConfigurationError(
            f"RELEASE_TRACING: expected off, since {missing} is not installed; given {tracing}: "
            "pip install 'batch-release[otel]'"
        ) from error
