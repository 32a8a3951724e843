"""`python -m streamapi` is the command `streamapi`."""

import sys

from streamapi.cli import main

if __name__ == "__main__":
    sys.exit(main())
