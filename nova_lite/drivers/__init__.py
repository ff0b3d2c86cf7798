"""One folder per kind of driver: ``base.py`` is the contract, the rest implements it."""
