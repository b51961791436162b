"""MkDocs hook that draws diagrams in the language of Mermaid as SVG, so that no script has to.

GitHub draws them from left to right, as they are written. The column of a page and a phone are too
narrow for that, so here they go from top to bottom.
"""

import html
import re
from typing import Any

import mmdr

MARKED = re.compile(r'<div class="mermaid">(.*?)</div>', re.DOTALL)


def on_page_content(content: str, page: Any, **kwargs: Any) -> str:
    """Replace the diagrams of a page.

    Args:
        content: HTML of the page.
        page: the page of MkDocs.
        **kwargs: other arguments of MkDocs hooks.

    Returns:
        The HTML with SVG in the place of Mermaid's language.
    """
    try:
        return MARKED.sub(_to_svg, content)
    except ValueError as error:
        raise ValueError(f"A diagram of {page.file.src_uri} is wrong: {error}") from error


def _to_svg(marked: re.Match) -> str:
    source = html.unescape(marked[1]).strip()
    svg = mmdr.render(source.replace("flowchart LR", "flowchart TB", 1)).svg()
    # the site's stylesheet has the colours, for light and dark pages
    svg = re.sub(r"<style>.*?</style>", "", svg, flags=re.DOTALL)
    return f'<div class="diagram">{svg}</div>'
