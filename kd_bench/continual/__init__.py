"""`kd bench continual`: what a student forgets while it learns one domain after another, and what prevents it."""
