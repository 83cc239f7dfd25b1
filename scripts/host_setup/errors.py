"""What ends the program with a sentence."""


class Refused(Exception):
    """One sentence with the remedy, and the exit code."""

    def __init__(self, sentence, code=1):
        super().__init__(sentence)
        self.code = code
