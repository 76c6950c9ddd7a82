"""Soft labels from a file: what an LLM, or anybody, says of the rows that a student learns from.

`download` writes data/raw/soft_labels.SUFFIX if params `source.soft_labels` name a file. `preprocess` matches
its texts to those of train and of the rows without labels, and writes data/clean/soft_labels.parquet, in the
layout of `contracts.predictions`: the logarithms of the probabilities of the classes. Neither exists without
such a file.
"""

RAW = "soft_labels"  # in manifest.json of data/raw; also what ids of its rows begin with
TABLE = "soft_labels.parquet"  # next to the clean tables
FLOOR = 1e-6  # the least probability, so that logarithms are finite
