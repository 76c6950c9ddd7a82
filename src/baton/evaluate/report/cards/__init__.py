"""reports/cards: model cards and a data card in the format of the Hugging Face hub."""
