"""Pictures of architectures: SVG for people, DOT for Graphviz."""

from __future__ import annotations

from zoo.drawing.dot import write_dot as write_dot
from zoo.drawing.svg import write_svg as write_svg
