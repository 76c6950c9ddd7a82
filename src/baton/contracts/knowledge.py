"""What a student's soft targets were made of: data/predictions/knowledge, written by `distill`.

`sources.json` has the names of `sources`, if params `distill.knowledge` name any, and the numbers of `rows`
and of `labelled` rows if the student learnt from others than the rows of train. NAME.SPLIT.parquet has what
a source says of val and test, in the layout of `contracts.predictions`; `mean` is that of all.
"""

FOLDER = "knowledge"  # next to the predictions of models
LIST = "sources.json"
MEAN = "mean"
