"""64 bits that stand for a token, the same in every process: what tables of millions of rows are joined by."""

import hashlib
import re
from collections.abc import Sequence

import numpy as np

DIGITS = 32  # of nuScenes' tokens, which are hexadecimal
HEXADECIMAL = re.compile(f"[0-9a-f]{{{DIGITS}}}")
FACTOR = 0x9E3779B97F4A7C15  # odd, so that neither half of a token is lost
MASK = (1 << 64) - 1


def token_hash(token: str) -> int:
    """The hash of one token."""
    if HEXADECIMAL.fullmatch(token):
        return (int(token[: DIGITS // 2], 16) * FACTOR + int(token[DIGITS // 2 :], 16)) & MASK
    return int.from_bytes(hashlib.blake2b(token.encode(), digest_size=8).digest(), "little")


def token_hashes(tokens: Sequence[str]) -> np.ndarray:
    """The hashes (n,) uint64 of tokens, at once where all of them are like nuScenes'."""
    words = _words("".join(tokens)) if set(map(len, tokens)) == {DIGITS} else None
    if words is None or len(words) != len(tokens):
        return np.fromiter(map(token_hash, tokens), np.uint64, len(tokens))
    return words[:, 0] * np.uint64(FACTOR) + words[:, 1]


def _words(digits: str) -> np.ndarray | None:
    """Both halves (n, 2) uint64 of successive tokens; None if there is another character or a capital."""
    try:
        data = bytes.fromhex(digits) if digits == digits.lower() else b""
    except ValueError:
        return None
    whole = len(data) * 2 == len(digits)  # white space would be passed over
    return np.frombuffer(data, ">u8").reshape(-1, 2).astype(np.uint64) if whole else None
