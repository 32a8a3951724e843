"""CPU per event and memory per idle stream as bars, in an SVG written by hand."""

from collections.abc import Mapping
from html import escape
from typing import Any

PANELS = (
    ("cpu_us", "CPU per event, us"),
    ("request_ms", "CPU of a one-chunk request, ms"),
    ("ttft1_p50", "added time to first token, ms (p50)"),
    ("idle_kb", "memory per idle stream, KB"),
)
WIDTH, PANEL, BAR, ROW, LABEL = 860, 400, 200, 20, 100


def svg(told: Mapping[str, Any]) -> str:
    """Four panels of bars, two beside each other; each on its own scale."""
    names = list(told["figures"])
    high = 44 + ROW * len(names)
    panels = [
        _panel(told["figures"], names, key, title, 20 + (n % 2) * 430, 10 + (n // 2) * high)
        for n, (key, title) in enumerate(PANELS)
    ]
    height = 20 + high * ((len(PANELS) + 1) // 2)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(panels) + "\n</svg>\n"
    )


def _panel(
    figures: Mapping[str, Any], names: list[str], key: str, title: str, left: int, top: int
) -> str:
    values = {name: figures[name][key] for name in names}
    most = max((value["median"] for value in values.values() if value), default=1) or 1
    lines = [f'<text x="{left}" y="{top + 16}" font-weight="bold">{escape(title)}</text>']
    for n, name in enumerate(names):
        y = top + 26 + n * ROW
        value = values[name]["median"] if values[name] else None
        wide = max(1.0, BAR * value / most) if value is not None else 0.0
        colour = "#2563eb" if name == "streamapi" else "#9ca3af"
        shown = "-" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.2g}"
        lines.append(
            f'<text x="{left + LABEL - 8}" y="{y + 11}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{left + LABEL}" y="{y}" width="{wide:.1f}" height="14" fill="{colour}"/>'
            f'<text x="{left + LABEL + wide + 6:.1f}" y="{y + 11}">{shown}</text>'
        )
    return "\n".join(lines)
