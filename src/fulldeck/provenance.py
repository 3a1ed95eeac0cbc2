"""Which code made a result."""

import subprocess
from pathlib import Path


def commit() -> str | None:
    """Return the commit of the code that runs, with "+" if the package differs from it; None outside a checkout.

    An installed copy may lie in another project's repository, so only a file that git tracks counts.
    """
    here = Path(__file__)
    try:
        subprocess.run(
            ["git", "ls-files", "--error-unmatch", here.name], cwd=here.parent, capture_output=True, check=True
        )
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here.parent, capture_output=True, text=True, check=True)
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--", "."], cwd=here.parent, capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+" if changed.stdout else "")
