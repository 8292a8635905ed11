"""Lets tests of the engine use the streams of the property tests: with importlib mode no test folder is on the path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "property"))
sys.path.insert(0, str(Path(__file__).parent))
