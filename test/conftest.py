"""For every test."""

import os
import signal

# A shell ignores SIGINT for what it runs in the background, and programs that a test starts would inherit that:
# tests of Ctrl-C would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Each test process, and what it starts, has one core: `make test` runs one process a core. Before numpy and torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")
