"""Start the launcher, in an interpreter that holds the standard library only.

`python -m` imports the package of a module first, here all of `keras_ssl`, and TensorFlow with it.
The launcher needs neither their memory nor their threads, which a process that forks should not
have. So it starts once more from this file, and takes its own folder for a package.
"""

import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

NAME = "keras_ssl_launch"


def main() -> None:
    """Start once more, or run."""
    if __package__:
        os.execv(sys.executable, [sys.executable, "-P", __file__, *sys.argv[1:]])
    folder = Path(__file__).parent
    spec = spec_from_file_location(
        NAME, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    sys.modules[NAME] = module_from_spec(spec)
    from keras_ssl_launch import program

    program.main()


if __name__ == "__main__":
    main()
