"""`python -m services` is the command line `kontaktpflege`."""

from services.cli.app import main

if __name__ == "__main__":
    main()
