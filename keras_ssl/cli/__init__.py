"""The command line: `keras-ssl` and `python -m keras_ssl`."""

from keras_ssl.cli.command import main

__all__ = ["main"]
