"""`python -m undrift.cli`."""

import sys

from undrift.cli import main

sys.exit(main())
