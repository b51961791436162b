"""`python -m keras_ssl`, which is `keras-ssl`."""

import sys

from keras_ssl.cli import main

if __name__ == "__main__":
    sys.exit(main())
