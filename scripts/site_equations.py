r"""MkDocs hook that turns the TeX of equations into MathML, which browsers draw without a script.

The extension `pymdownx.arithmatex` marks the TeX between `$` or `$$`. Where no mathematical font
is installed, the site's own is used: STIX Two Math, cut to the characters of the equations.
"""

import html
import importlib.util
import re
from pathlib import Path
from typing import Any

import math_core
from fontTools import subset

# the package has the font
ZIAMATH = Path(importlib.util.find_spec("ziamath").origin).parent
FONT = ZIAMATH / "fonts" / "STIXTwoMath-Regular.ttf"
MARKED = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)

converter = math_core.LatexToMathML(fancy_error=False)
characters: set[str] = set()


def on_page_content(content: str, page: Any, **kwargs: Any) -> str:
    """Replace the equations of a page.

    Args:
        content: HTML of the page.
        page: the page of MkDocs.
        **kwargs: other arguments of MkDocs hooks.

    Returns:
        The HTML with MathML in the place of TeX.
    """
    try:
        return MARKED.sub(_to_mathml, content)
    except math_core.LatexError as error:
        raise ValueError(f"An equation of {page.file.src_uri} is not TeX: {error}") from error


def on_post_build(config: Any, **kwargs: Any) -> None:
    """Write the font into the folder of the site.

    Args:
        config: configuration of MkDocs.
        **kwargs: other arguments of MkDocs hooks.
    """
    options = subset.Options(flavor="woff", layout_features=["*"])
    font = subset.load_font(str(FONT), options)
    subsetter = subset.Subsetter(options)
    subsetter.populate(text="".join(sorted(characters)))
    subsetter.subset(font)
    subset.save_font(font, str(Path(config.site_dir) / "stix-two-math.woff"), options)


def _to_mathml(marked: re.Match) -> str:
    tag, tex = marked[1], html.unescape(marked[2])
    mathml = converter.convert_with_local_state(tex, displaystyle=tag == "div")
    characters.update(html.unescape(re.sub(r"<[^>]*>", "", mathml)))
    return f'<{tag} class="equation">{mathml}</{tag}>'
