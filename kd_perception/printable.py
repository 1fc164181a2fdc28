"""Text from files for the terminal: a name in a bag must not move the cursor, change colours or hide what follows."""

import unicodedata

_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")  # controls, directions of writing, surrogates, private use, line ends


def printable(text: str) -> str:
    """The text with every character that is not shown as itself written as its code (\\x1b); line ends are kept."""
    return "".join(
        char if char == "\n" or unicodedata.category(char) not in _HIDDEN else repr(char)[1:-1] for char in text
    )
