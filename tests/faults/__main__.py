"""`python -m tests.faults`."""

import sys

from tests.faults.run import main

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
