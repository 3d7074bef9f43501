"""From a loaded network to the fastest form of it that this machine can run, with a proof."""
