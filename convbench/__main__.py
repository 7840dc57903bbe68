"""`python -m convbench` is the `convbench` command."""

from convbench.cli import main

if __name__ == "__main__":
    main()
