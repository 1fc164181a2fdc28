"""What the ledgers of `kd bench` share: their file, a pool of workers that fill it, splits, digests and statistics."""
