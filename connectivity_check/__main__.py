"""`python -m connectivity_check`."""

from __future__ import annotations

import sys

from connectivity_check.cli import main

if __name__ == "__main__":
    sys.exit(main())
