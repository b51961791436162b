"""MkDocs hook: links from the pages to files outside of `docs/`, which the site does not have.

In the repository such a link opens the file. On the site, the file's path stands in its place.
"""

import re
from typing import Any

LINK = re.compile(r"\[([^\]]+)\]\((?:\.\./)+((?:benchmarks|examples|keras_ssl|tests)/[^)]*)\)")


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Replace the links of a page.

    Args:
        markdown: text of the page.
        **kwargs: what else MkDocs tells a hook.

    Returns:
        The text without links to files that the site does not have.

    Example:

    >>> on_page_markdown("See [nt_xent.py](../../keras_ssl/losses/contrastive/nt_xent.py).")
    'See `keras_ssl/losses/contrastive/nt_xent.py`.'
    """
    return LINK.sub(_path_or_text, markdown)


def _path_or_text(link: re.Match) -> str:
    text, path = link.groups()
    return f"`{path}`" if path.endswith(text) else text
