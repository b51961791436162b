"""Griffe extension that formats the examples of docstrings as code.

Markdown would treat lines that begin with `>>>` as nested quotations.
"""

from typing import Any

import griffe


class FencedExamples(griffe.Extension):
    """Puts the doctests of every docstring into code blocks."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Change the docstring of an object."""
        if obj.docstring is not None:
            obj.docstring.value = fence_examples(obj.docstring.value)


def fence_examples(text: str) -> str:
    """Put fences around doctests, which end at an empty line."""
    lines, in_example = [], False
    for line in [*text.splitlines(), ""]:
        if not in_example and line.startswith(">>> "):
            lines.append("```python")
            in_example = True
        elif in_example and not line:
            lines.append("```")
            in_example = False
        lines.append(line)
    return "\n".join(lines).rstrip("\n")
