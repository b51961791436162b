"""Start the launcher in an interpreter that only imports the standard library.

`python -m` first imports the package of a module, here all of `keras_ssl` and with it TensorFlow.
The launcher needs neither their memory nor their threads, which a process that forks should not
have. So it executes this file again, with its own folder as a package.
"""

import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

NAME = "keras_ssl_launch"


def main() -> None:
    """Execute this file again, or run the launcher."""
    if __package__:
        os.execv(sys.executable, [sys.executable, "-P", __file__, *sys.argv[1:]])
    folder = Path(__file__).parent
    spec = spec_from_file_location(
        NAME, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    sys.modules[NAME] = module_from_spec(spec)
    from keras_ssl_launch import _program

    _program.main()


if __name__ == "__main__":
    main()
