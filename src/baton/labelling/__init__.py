"""What a person should label, or label again."""
