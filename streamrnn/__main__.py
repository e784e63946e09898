"""`python -m streamrnn` is the `streamrnn` command."""

from streamrnn.cli.main import main

if __name__ == "__main__":
    main()
