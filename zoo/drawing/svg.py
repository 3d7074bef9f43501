"""Diagrams as one self-contained SVG file, readable on light and dark pages."""

from __future__ import annotations

from html import escape

from zoo.diagram import Diagram, Graph, Table
from zoo.drawing.layout import Layout, find_layout

_COLUMN, _ROW, _MARGIN, _TITLE = 150, 42, 24, 44
_BOX_WIDTH, _BOX_HEIGHT = 104, 28
_CHARACTER = 7.2  # mean width of a 12 px character
_FILLS = {"state": "#dbe9f6", "operator": "#fdf1d0"}
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1b1f24; }
.title { font-weight: 600; font-size: 15px; }
.head { font-weight: 600; }
.edge { fill: none; stroke: #6b7480; stroke-width: 1.3; marker-end: url(#arrow); }
.box { stroke: #6b7480; }
.rule { stroke: #d0d7de; }
"""


def write_svg(diagram: Diagram) -> str:
    """Return an SVG document with all parts, one below the other."""
    parts, top, width = [], 0.0, 0.0
    for part in diagram:
        body, part_width, part_height = _draw(part)
        parts.append(f'<g transform="translate(0 {top:g})">{body}</g>')
        top, width = top + part_height, max(width, part_width)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {top:g}" '
        f'width="{width:g}" height="{top:g}">\n<style>{_STYLE}</style>\n'
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#6b7480"/></marker></defs>\n'
        f'<rect width="{width:g}" height="{top:g}" fill="#ffffff"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _draw(part: Graph | Table) -> tuple[str, float, float]:
    return _draw_graph(part) if isinstance(part, Graph) else _draw_table(part)


def _draw_graph(graph: Graph) -> tuple[str, float, float]:
    layout = find_layout(graph)
    body = [_text(_MARGIN, 28, graph.title, "title")]
    widths = {key: _box_width(*node) for key, node in graph.nodes.items()}
    body += [_edge(layout, route, widths) for route in layout.routes]
    for key, (label, kind) in graph.nodes.items():
        x, y = _centre(layout.places[key])
        radius = _BOX_HEIGHT / 2 if kind == "state" else 5
        box_width = widths[key]
        body.append(
            f'<rect class="box" x="{x - box_width / 2:g}" y="{y - _BOX_HEIGHT / 2:g}" '
            f'width="{box_width:g}" height="{_BOX_HEIGHT}" rx="{radius:g}" fill="{_FILLS[kind]}"/>'
            + _text(x, y + 4, label, anchor="middle")
        )
    width = 2 * _MARGIN + layout.layers * _COLUMN
    height = _TITLE + layout.rows * _ROW + _MARGIN
    return "\n".join(body), max(width, len(graph.title) * 9 + 2 * _MARGIN), height


def _draw_table(table: Table) -> tuple[str, float, float]:
    texts = (table.header, *table.rows)
    widths = [max(len(row[i]) for row in texts) * _CHARACTER + 18 for i in range(len(table.header))]
    lefts = [_MARGIN + sum(widths[:i]) for i in range(len(widths))]
    right = lefts[-1] + widths[-1]
    body = [_text(_MARGIN, 28, table.title, "title")]
    for number, row in enumerate(texts):
        y = _TITLE + 24 * number + 16
        kind = "head" if number == 0 else ""
        body += [_text(left, y, text, kind) for left, text in zip(lefts, row, strict=True)]
        body.append(f'<path class="rule" d="M{_MARGIN} {y + 8}H{right:g}"/>')
    height = _TITLE + 24 * len(texts) + _MARGIN
    return "\n".join(body), max(right, len(table.title) * 9 + _MARGIN) + _MARGIN, height


def _edge(layout: Layout, route: list[str], widths: dict[str, float]) -> str:
    points = [_centre(layout.places[node]) for node in route]
    x, y = points[0][0] + widths[route[0]] / 2, points[0][1]
    # Between two columns the edge swings from one row to the next; it meets boxes level.
    path = f"M{x:g} {y:g}"
    for node, (next_x, next_y) in zip(route[1:], points[1:], strict=True):
        next_x -= widths.get(node, 0.0) / 2
        middle = (x + next_x) / 2
        path += f"C{middle:g} {y:g} {middle:g} {next_y:g} {next_x:g} {next_y:g}"
        x, y = next_x, next_y
    return f'<path class="edge" d="{path}"/>'


def _box_width(label: str, kind: str) -> float:
    return max(_BOX_WIDTH if kind == "operator" else 44, len(label) * _CHARACTER + 14)


def _centre(place: tuple[int, float]) -> tuple[float, float]:
    layer, row = place
    return _MARGIN + (layer + 0.5) * _COLUMN, _TITLE + (row + 0.5) * _ROW


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'
