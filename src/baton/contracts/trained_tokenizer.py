"""How a tokenizer is trained that no base model brings, and its special tokens.

`download` writes the plan next to the base model's config, `tokenize` follows it.
"""

PLAN = "tokenizer_plan.json"  # in data/base: `kind`, and `vocabulary` of byte pairs
PAD, END, UNKNOWN = 0, 1, 2  # ids of the special tokens
SPECIAL = ("<pad>", "</s>", "<unk>")  # in the order of their ids
