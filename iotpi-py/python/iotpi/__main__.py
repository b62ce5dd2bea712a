"""The command line: ``iotpi`` or ``python -m iotpi``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
