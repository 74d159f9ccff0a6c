"""python -m srkit"""

import os
import sys

# `python -m` puts the current folder first on the path; a downloaded folder must not bring code of its own.
if not sys.flags.safe_path and sys.path and sys.path[0] in ("", os.getcwd()):
    del sys.path[0]

from srkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
