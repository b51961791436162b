"""MkDocs hook for links to files outside `docs/`, which the site does not contain.

In the repository such a link opens the file. On the site it is replaced by the file's path.
"""

import re
from typing import Any

LINK = re.compile(r"\[([^\]]+)\]\((?:\.\./)+((?:benchmarks|examples|keras_ssl|tests)/[^)]*)\)")


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Replace the links of a page.

    Args:
        markdown: text of the page.
        **kwargs: other arguments of MkDocs hooks.

    Returns:
        The text without links to files that the site does not contain.

    Example:

    >>> on_page_markdown("See [nt_xent.py](../../keras_ssl/losses/contrastive/nt_xent.py).")
    'See `keras_ssl/losses/contrastive/nt_xent.py`.'
    """
    return LINK.sub(_path_or_text, markdown)


def _path_or_text(link: re.Match) -> str:
    text, path = link.groups()
    return f"`{path}`" if path.endswith(text) else text
