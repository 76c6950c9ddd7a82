"""What a task is made of: losses, figures, calibration."""
