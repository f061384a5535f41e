"""The one exception a user may meet: its text is a sentence saying what is wrong, where, and what to do."""


class ColoproxyError(Exception):
    """Something outside the program is not as it must be. Commands print the sentence and exit with status 2."""
