"""``python -m spatial_memory.headless`` is the command ``spatial-memory``."""

import sys

from .cli import main

sys.exit(main())
