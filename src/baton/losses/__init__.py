"""What training minimises: the loss of a task, from labels and from a teacher."""
