"""
``python -m tests.worlds --seed 7`` replays one world; ``--count`` runs many.
"""

import sys

from tests.worlds.world import main

if __name__ == "__main__":
    sys.exit(main())
