"""`python -m VirtualContrastLib`: the command line under any Python, PythonSlicer included."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
