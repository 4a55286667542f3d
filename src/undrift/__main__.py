"""`python -m undrift`: what `torchrun -m undrift` starts."""

import sys

from undrift.cli import main

sys.exit(main())
