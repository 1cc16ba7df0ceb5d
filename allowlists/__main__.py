# PYTHON_ARGCOMPLETE_OK
"""`python -m allowlists` does what `isolator-lists` does."""

import sys

from allowlists.cli import main

sys.exit(main())
