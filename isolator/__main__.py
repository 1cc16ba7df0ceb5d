"""`python -m isolator`."""

from __future__ import annotations

import sys

from isolator.cli import main

if __name__ == "__main__":
    sys.exit(main())
