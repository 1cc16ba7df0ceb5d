"""`python -m api` is `isolator-api`."""

import sys

from api.main import main

sys.exit(main())
