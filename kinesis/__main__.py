"""`python -m kinesis` is the command `kinesis`."""

from kinesis.cli import main

if __name__ == "__main__":
    main()
