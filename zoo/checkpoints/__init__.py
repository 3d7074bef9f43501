"""From a checkpoint file in any known format to tensors that fit a network exactly."""
