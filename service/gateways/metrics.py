"""The figures of this process for Prometheus."""

from prometheus_client import CollectorRegistry, Gauge

from service.core.auditing import AuditReport


class Metrics:
    """What a scrape of this process shows; the names are those of the operations guide."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._audit_violations = Gauge(
            "release_audit_violations",
            "Rows that broke a rule when this process last audited.",
            ["rule"],
            registry=self.registry,
        )

    def show_audit(self, report: AuditReport) -> None:
        """Show how many rows break each rule; before the first audit there is no figure, which is not 0."""
        for rule in report.rules:
            self._audit_violations.labels(rule=rule.rule.value).set(rule.count)
