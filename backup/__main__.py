"""Entry point of `python -m backup`."""

import sys

from backup.cli import main

if __name__ == "__main__":
    sys.exit(main())
