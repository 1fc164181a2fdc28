"""Images as they arrive, decoded to RGB: JPEG, PNG and raw encodings, with one set of refusals."""
