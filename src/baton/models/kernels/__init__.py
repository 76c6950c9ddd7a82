"""Custom attention, dropout and convolution kernels."""
