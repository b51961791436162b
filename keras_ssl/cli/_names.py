"""Names as people write them."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any


def find(kind: str, name: str, things: Mapping[str, Any]) -> Any:
    """Return the thing of a name, whose case, dashes and underscores do not count.

    Args:
        kind: what is looked for, for the message.
        name: the name as written.
        things: what there is, by name.

    Raises:
        ValueError: if there is none, with the nearest name.
    """
    if name in things:
        return things[name]
    alike = [known for known in things if plain(known) == plain(name)]
    if len(alike) == 1:
        return things[alike[0]]
    raise ValueError(f"there is no {kind} {name!r}.{nearest(name, things)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a message: the known name that is most like `name`, if one is."""
    by_plain = {plain(one): one for one in known}
    found = difflib.get_close_matches(plain(name), by_plain, n=1, cutoff=0.5)
    return f" Did you mean {by_plain[found[0]]}?" if found else ""


def dashed(name: str) -> str:
    """Return the name of the option of an argument."""
    return name.replace("_", "-")


def plain(name: str) -> str:
    """Return a name without case, dashes and underscores."""
    return name.lower().replace("-", "").replace("_", "")
