"""Griffe extensions for what this package has and Griffe does not expect.

- Markdown would treat doctests, whose lines begin with `>>>`, as nested quotations, and sections of
  Keras such as "Call arguments" as one paragraph.
- A function that has the name of its file, such as `nt_xent`, would be taken for the file.
"""

import re
import textwrap
from collections.abc import Iterator
from typing import Any

import griffe

SECTION = re.compile(
    r"^(Call arguments|Input shape|Output shape|Example|Reference):\n((?:[ ].*\n?|\n(?=[ ]))*)",
    re.MULTILINE,
)
ARGUMENT = re.compile(r"^([\w*][\w*, ]*):", re.MULTILINE)


class KerasDocstrings(griffe.Extension):
    """Makes Markdown of the doctests and of the sections of Keras in every docstring."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Change the docstring of an object."""
        if obj.docstring is not None:
            obj.docstring.value = fence_examples(SECTION.sub(_to_list, obj.docstring.value))


class FunctionsNamedAsTheirFiles(griffe.Extension):
    """Puts the function in the place of the file where a package exports both under one name."""

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **kwargs: Any) -> None:
        """Change the members of a package and of the packages in it."""
        loader.resolve_aliases(implicit=False)
        # first find all: a file that is replaced no longer leads to what is in it
        for package, name, function in list(_shadowed(pkg)):
            package.set_member(name, griffe.Alias(name, function, parent=package))


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


def _to_list(section: re.Match) -> str:
    title, content = section[1], textwrap.dedent(section[2])
    if title == "Call arguments":
        content = ARGUMENT.sub(r"- `\1`:", content)
    return f"**{title}:**\n\n{content}"


def _shadowed(package: griffe.Module) -> Iterator[tuple[griffe.Module, str, griffe.Object]]:
    """Yield packages, exported names, and what should be there instead of a file."""
    for name, member in package.members.items():
        if member.is_alias and not member.resolved:
            continue  # of another library
        file = member.final_target if member.is_alias else member
        if not file.is_module:
            continue
        if not member.is_alias:
            yield from _shadowed(file)
        if name in (package.exports or ()) and name in file.members:
            yield package, name, file.members[name]
