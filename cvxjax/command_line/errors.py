"""The error of wrong input."""


class InputError(Exception):
    """Wrong input by the user; its message is the one line that is printed."""
