"""Images as arrays: files, transforms, similarity, frequencies, rectangles."""
