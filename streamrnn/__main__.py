"""`python -m streamrnn` is the `streamrnn` command."""

from streamrnn.cli import main

if __name__ == "__main__":
    main()
