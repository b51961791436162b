"""MkDocs hook that links the names of public objects to their place in the reference.

`losses.NTXent` in the text of a page becomes a link. In the repository it is code like any other.
"""

import re
from pathlib import Path
from typing import Any

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "api"
NAMESPACES = "|".join(sorted({page.name.split(".")[0] for page in REFERENCE.glob("*.md")}))
# what stands in a link, a heading or a block of code stays as it is
NAME_OR_FIXED = re.compile(
    r"<(?P<fixed>a|h[1-6]|pre)\b.*?</(?P=fixed)>"
    rf"|<code>(?:keras_ssl\.)?(?P<name>(?:{NAMESPACES})(?:\.\w+)+)(?:\(.*?\))?</code>",
    re.DOTALL,
)


def on_page_content(content: str, **kwargs: Any) -> str:
    """Link the names in a page.

    Args:
        content: HTML of the page.
        **kwargs: other arguments of MkDocs hooks.

    Returns:
        The HTML with elements that `mkdocs-autorefs` makes links of, if the reference has the name.

    Example:

    >>> on_page_content("<code>losses.DCL()</code>")
    '<autoref optional identifier="keras_ssl.losses.DCL"><code>losses.DCL()</code></autoref>'
    """
    return NAME_OR_FIXED.sub(_to_link, content)


def _to_link(match: re.Match) -> str:
    if match["fixed"]:
        return match[0]
    return f'<autoref optional identifier="keras_ssl.{match["name"]}">{match[0]}</autoref>'
