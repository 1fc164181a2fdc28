"""Helpers that several tests share: a fast student whose answers are known, painted images, small rigs."""
