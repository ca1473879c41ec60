"""`python -m sluice.cli`: the command line where no console script is on the path, as in our own children."""

from sluice.cli.application import main

if __name__ == "__main__":
    main()
