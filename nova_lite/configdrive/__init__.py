"""Config drives: a small disk with the metadata that the guest would else ask for over HTTP.

``content`` says which files there are, ``writer`` makes the disk.
"""
