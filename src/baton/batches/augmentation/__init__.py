"""Image augmentation in training: random numbers, operations and mixing, on the host and on the device."""
