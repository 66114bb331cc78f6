"""What a network is and how it learns: specs, layers, losses, optimizers, trainer, gradient check."""
