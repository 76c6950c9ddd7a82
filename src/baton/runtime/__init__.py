"""The device, precision, kernels, memory and processes of one computation."""
