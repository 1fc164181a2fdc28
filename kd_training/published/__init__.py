"""Published checkpoints of other frameworks as weights of ours: reading them safely, mapping tables, coverage."""
