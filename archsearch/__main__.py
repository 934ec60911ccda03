"""`python -m archsearch` is the command `archsearch`."""

from archsearch.cli.main import main

if __name__ == "__main__":
    main()
