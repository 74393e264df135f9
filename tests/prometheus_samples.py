"""What Prometheus reads of the metrics."""

from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> Samples:
    """Return what Prometheus would read."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(samples: Samples, name: str, **labels: str) -> float:
    """Add up what has these labels, and perhaps others."""
    wanted = set(labels.items())
    return sum(
        value for (known, pairs), value in samples.items() if known == name and wanted <= set(pairs)
    )
