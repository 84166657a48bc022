"""The real server, which starts late by DELAY_S: run as a script, like app.py."""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from app.main import main

if __name__ == "__main__":
    time.sleep(float(os.environ["DELAY_S"]))
    raise SystemExit(main())
