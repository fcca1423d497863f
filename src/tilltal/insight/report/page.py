"""The page: Jinja templates with escaping on, every missing value an error, CSS inside, no script."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from tilltal.insight.report import story, words, worth
from tilltal.insight.report.charts.persona_map import key, persona_map
from tilltal.insight.report.charts.plane import per_cent, short
from tilltal.insight.report.charts.quality import gains, reliability
from tilltal.insight.report.charts.steps import steps
from tilltal.insight.report.charts.trend import sparkline, trend
from tilltal.insight.report.data import ReportData
from tilltal.insight.report.gather.kpis import title_of
from tilltal.insight.report.gather.why_not import STEPS


def render(data: ReportData) -> str:
    """Return the whole page as HTML; it refers to nothing outside itself."""
    return _environment().get_template("page.html.jinja").render(data=data, currency=data.about.currency)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tilltal.insight.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        each.__name__: each
        for each in (
            words.number, words.figure, words.share, words.rough, words.money,
            words.name, words.inline, words.channel, words.dimension, words.segment, words.day, words.month,
        )
    }  # fmt: skip
    environment.globals |= {
        "story": story, "words": words, "steps": STEPS, "title_of": title_of,
        "trend": trend, "sparkline": sparkline, "short": short, "per_cent": per_cent,
        "gains": gains, "reliability": reliability, "persona_map": persona_map, "key": key,
        "worth": worth, "steps_chart": steps,
    }  # fmt: skip
    return environment
