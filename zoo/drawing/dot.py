"""Diagrams as DOT, the language of Graphviz."""

from __future__ import annotations

from zoo.diagram import Diagram, Graph, Table

_SHAPES = {
    "state": 'shape=ellipse, style=filled, fillcolor="#dbe9f6"',
    "operator": 'shape=box, style="rounded,filled", fillcolor="#fdf1d0"',
}


def write_dot(diagram: Diagram) -> str:
    """Return one `digraph` for each graph; a table becomes a node of the record shape."""
    return "\n".join(_graph(part) if isinstance(part, Graph) else _table(part) for part in diagram)


def _graph(graph: Graph) -> str:
    lines = [f"digraph {_quoted(graph.title)} {{", "  rankdir=LR;"]
    for key, (label, kind) in graph.nodes.items():
        lines.append(f"  {_quoted(key)} [label={_quoted(label)}, {_SHAPES[kind]}];")
    lines += [f"  {_quoted(source)} -> {_quoted(target)};" for source, target in graph.edges]
    return "\n".join([*lines, "}"]) + "\n"


def _table(table: Table) -> str:
    columns = [
        "{" + "|".join(_escaped(row[i]) for row in (table.header, *table.rows)) + "}"
        for i in range(len(table.header))
    ]
    return (
        f"digraph {_quoted(table.title)} {{\n"
        f'  stages [shape=record, label="{"|".join(columns)}"];\n}}\n'
    )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _escaped(text: str) -> str:
    for character in '\\{}|<>" ':
        text = text.replace(character, "\\" + character)
    return text
