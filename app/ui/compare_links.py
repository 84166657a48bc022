"""Addresses that open a view of the comparison tab and fill in its form; uploads cannot be part of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import urlencode

import gradio as gr
from gradio.components import Component

from app.ui.html_parts import escape

LinkQuery: TypeAlias = Mapping[str, Sequence[str]]  # every parameter of an address with all its values
_MAX_LINK_CHARS = 6_000  # servers and proxies refuse addresses of more than about 8,000


class Linked(NamedTuple):
    """A form that a link fills in."""

    fill: Callable[[gr.Request], tuple[Any, ...]]  # returns what the tabs, the views and the form then show
    components: Sequence[Component]  # those of the form that a link can name


def read_link(request: gr.Request, view: str) -> LinkQuery | None:
    """Return what a page's address says; None when it does not open this view."""
    query = request.query_params
    if query.getlist("view") != [view]:
        return None
    return {name: query.getlist(name) for name in query}


def first(query: LinkQuery, name: str) -> str:
    """Return a parameter's first value, or an empty text."""
    return next(iter(query.get(name, ())), "")


def make_link(view: str, pairs: Sequence[tuple[str, str]]) -> str | None:
    """Return the query of an address that fills in a form again; None when it would be too long."""
    link = f"?{urlencode([('view', view), *pairs])}"
    return link if len(link) <= _MAX_LINK_CHARS else None


def render_link(link: str | None, *, uploaded: bool = False) -> str:
    """Return a link to the inputs as HTML.

    Args:
        link: of `make_link`.
        uploaded: a part of the inputs is the visitor's own, which no link can name.
    """
    if link is None:
        return "These are too many inputs for a link."
    without = " (without your own images: uploads cannot be linked)" if uploaded else ""
    return f'<a class="share" href="{escape(link)}">Link to these inputs</a>{without}'
