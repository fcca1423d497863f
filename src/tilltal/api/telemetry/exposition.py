"""Figures in the text exposition format 0.0.4 of Prometheus.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from tilltal.runtime.live.contract import Sample

CONTENT_TYPE = "text/plain; version=0.0.4"


def exposition(samples: Iterable[Sample]) -> str:
    r"""Write samples, those of one name together under its help and type.

    >>> exposition([Sample(name="tilltal_lag_seconds", kind="gauge", help="Lag.", value=2.5)])
    '# HELP tilltal_lag_seconds Lag.\n# TYPE tilltal_lag_seconds gauge\ntilltal_lag_seconds 2.5\n'
    """
    families: dict[str, list[Sample]] = {}
    for sample in samples:
        families.setdefault(sample.name, []).append(sample)
    lines = [line for family in families.values() for line in _family(family)]
    return "\n".join(lines) + "\n"


def _family(samples: list[Sample]) -> Iterator[str]:
    first = samples[0]
    text = first.help.replace("\\", r"\\").replace("\n", r"\n")
    yield f"# HELP {first.name} {text}"
    yield f"# TYPE {first.name} {first.kind}"
    for sample in samples:
        yield f"{sample.name}{sample.suffix}{_labels(sample.labels)} {_number(sample.value)}"


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if float(value).is_integer() else repr(float(value))
