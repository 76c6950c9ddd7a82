"""Knowledge distillation: the student and its loss."""
