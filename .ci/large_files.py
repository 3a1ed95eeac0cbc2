"""Fail if one of the files named on the command line is larger than a repository should carry."""

import sys
from pathlib import Path

LIMIT = 1_000_000  # bytes

too_large = [name for name in sys.argv[1:] if Path(name).is_file() and Path(name).stat().st_size > LIMIT]
for name in too_large:
    sys.stderr.write(f"{name} has {Path(name).stat().st_size / 1e6:.1f} MB; at most {LIMIT / 1e6:.0f} MB is carried\n")
sys.exit(bool(too_large))
