"""Every process that Python starts with this folder on its path has a simulated device."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import simulator

simulator.start(seed=1)
