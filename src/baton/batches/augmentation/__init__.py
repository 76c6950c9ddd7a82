"""How training varies images: random numbers, operations, mixing, on the host and on the device."""
