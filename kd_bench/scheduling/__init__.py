"""`kd bench scheduling`: what batching rigs, unchanged images and object density could bring a scheduler."""
