"""`python -m coloproxy`: the same as the command `coloproxy`."""

from coloproxy.cli import main

if __name__ == "__main__":
    main()
