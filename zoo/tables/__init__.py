"""Tables of reported and reproduced accuracy, from the manifest and committed measurements."""
