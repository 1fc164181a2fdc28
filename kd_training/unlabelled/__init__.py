"""Teaching without labels: a teacher's answers on keyframes that nobody labelled, and what of them counts as truth."""
