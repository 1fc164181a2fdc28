"""For every test."""

import signal

# A shell ignores SIGINT for what it runs in the background, and programs that a test starts would inherit that:
# tests of Ctrl-C would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)
