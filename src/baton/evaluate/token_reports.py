"""What evaluation does where words have tags; see `task_reports.TaskReports`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from baton import params
from baton.contracts.ragged import Ragged
from baton.contracts.task_spec import Tokens
from baton.evaluate import calibration, multiple_comparisons, token_outputs, token_significance
from baton.evaluate.evaluation import Evaluation
from baton.evaluate.f1_bootstrap import f1_of_rows, pseudo_values
from baton.evaluate.inputs import Rows
from baton.evaluate.report import token_tables
from baton.evaluate.report.csv_files import Table
from baton.evaluate.report.wording import Words
from baton.evaluate.report_defaults import ReportDefaults
from baton.evaluate.resampling import means
from baton.evaluate.selective import Claims
from baton.evaluate.token_baselines import TokenBaselines
from baton.evaluate.token_outputs import TokenOutputs
from baton.evaluate.token_significance import TokenBootstrap
from baton.tasks import token_decoding
from baton.tasks.token_figures import COLUMN, TokenFigures


@dataclass(frozen=True)
class TokenReports(ReportDefaults):
    """F1 of entities; bootstrap and approximate randomisation over texts."""

    spec: Tokens

    over_seeds: ClassVar[tuple[str, ...]] = ("entity_f1", "macro_f1", "log_loss")
    tracked: ClassVar[tuple[str, ...]] = (
        "entity_f1",
        "entity_precision",
        "entity_recall",
        "macro_f1",
        "exact",
        "token_accuracy",
        "log_loss",
        "log_loss_scaled",
        "temperature",
    )
    words: ClassVar[Words] = Words(
        counted="tags",
        tested="a randomisation test",
        bounded="the bootstrap's",
        remark=token_tables.REMARK,
    )
    p: ClassVar[str] = "entity_f1_p"
    counting: ClassVar[str] = "exact"

    @property
    def figures(self) -> TokenFigures:
        """The figures of validation, and the answers."""
        return TokenFigures(self.spec)

    @property
    def baselines(self) -> TokenBaselines:
        """The most frequent tag of each word, and a CRF."""
        return TokenBaselines(self.spec)

    def outputs(self, logits: Ragged, fitted: Mapping[str, Any]) -> TokenOutputs:
        """Return the logits, and the temperature."""
        return TokenOutputs(logits, **fitted)

    def served(self, answers: pd.DataFrame) -> TokenOutputs:
        """Return the entities that a served model answered."""
        return token_outputs.of_answers(self.spec, answers[COLUMN])

    def fitted(self, targets: Ragged, outputs: TokenOutputs) -> dict[str, Any]:
        """Return the `temperature` of the tags' softmax, see `TokenFigures.fitted`."""
        assert outputs.logits is not None, "baselines have probabilities"
        return self.figures.fitted(outputs.logits, targets)

    def parts(self, targets: Ragged, outputs: TokenOutputs) -> NDArray[np.float64]:
        """Return how many entities each text has that are hit, and that are predicted or actual, (n, 2)."""
        own = token_outputs.statistics(self.spec, targets, outputs)
        types = len(self.spec.names)
        sums = own[:, :types].sum(axis=1), own[:, types : 3 * types].sum(axis=1)
        return np.stack([np.asarray(part, np.float64) for part in sums], axis=1)

    def score(self, parts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return `f1_bootstrap.pseudo_values` of entity F1."""
        return pseudo_values(parts)

    def overall(self, targets: Ragged, outputs: TokenOutputs) -> float:
        """Return entity F1."""
        return self._f1(self.parts(targets, outputs))

    def of_rows(
        self, targets: Ragged, outputs: TokenOutputs, rows: NDArray[np.bool_], confidence: float
    ) -> tuple[float, float, float]:
        """Return entity F1 on `rows`, see `f1_bootstrap.f1_of_rows`."""
        return f1_of_rows(self.parts(targets, outputs)[rows], confidence)

    def found(self, targets: Ragged, outputs: TokenOutputs) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the type of each entity of each text, and whether it was found."""
        true = token_outputs.actual(targets)
        return true[:, 3], token_decoding.matched(true, outputs.entities)[0]

    def claims(self, targets: Ragged, outputs: TokenOutputs) -> Claims:
        """Return the entities that are predicted, with their scores."""
        right = token_decoding.matched(token_outputs.actual(targets), outputs.entities)[1]
        return Claims(outputs.scores, right, outputs.entities[:, 3])

    def in_words(self, paired: Mapping[str, Any], first: str, second: str) -> str:
        """Return how many texts only one of two models has exactly right, and p of equal entity F1."""
        only_first, only_second = paired["discordant"]
        text = f"only {first} has every entity of {only_first} texts right, only {second} of {only_second}"
        return f"{text}, randomisation test of entity F1 p = {paired[self.p]:.2g}"

    def of_seed(
        self,
        logits: Ragged,
        targets: Ragged,
        fitted: Mapping[str, Any],  # noqa: ARG002
    ) -> dict[str, float]:
        """Return the figures of `token_outputs`, as trained."""
        rows = token_outputs.statistics(self.spec, targets, TokenOutputs(logits))
        found = token_outputs.figures(np.asarray(rows.sum(axis=0)), len(self.spec.names))
        return {name: float(value) for name, value in found.items()}

    def bootstrap(
        self,
        targets: Ragged,
        outputs: Mapping[str, TokenOutputs],
        bins: int,  # noqa: ARG002
        settings: params.Bootstrap,
    ) -> TokenBootstrap:
        """Resample the statistics of `token_outputs`, with probabilities at the temperature."""
        rows = {name: token_outputs.statistics(self.spec, targets, one) for name, one in outputs.items()}
        return TokenBootstrap(rows, len(self.spec.names), settings)

    def of_model(self, boot: TokenBootstrap, name: str) -> dict[str, Any]:
        """Return the figures of `token_outputs`; log loss, at the temperature, is `log_loss_scaled`."""
        return {
            key.replace("log_loss", "log_loss_scaled"): value for key, value in boot.figures(name).items()
        }

    def calibrations(
        self, test: Rows, outputs: Mapping[str, TokenOutputs], settings: params.Evaluate
    ) -> dict[str, dict[str, Any]]:
        """Return model -> temperature, log loss as trained, and the calibration error of entities' scores."""
        result: dict[str, dict[str, Any]] = {}
        targets, confidence = test.targets, settings.bootstrap.confidence
        scale = len(targets) / max(len(targets.values), 1)  # the mean over texts becomes that over words
        for name, one in outputs.items():
            error, ends = self.calibration(targets, one, settings.calibration_bins, confidence)
            result[name] = {"temperature": one.temperature}
            if (losses := one.losses(targets, 1.0)) is not None:
                values, bounds = means((targets.sums(losses) * scale)[:, None], settings.bootstrap)
                result[name] |= {
                    "log_loss": float(values[0]),
                    "log_loss_interval": [float(end) for end in bounds[:, 0]],
                }
            result[name] |= {"calibration_error": error, "calibration_error_interval": ends}
        return result

    def calibration(
        self, targets: Ragged, outputs: TokenOutputs, bins: int, confidence: float
    ) -> tuple[float, list[float]]:
        """Return the calibration error of predicted entities: of their scores, and whether they are right."""
        hits = token_decoding.matched(token_outputs.actual(targets), outputs.entities)[1]
        if not len(hits):
            return 0.0, [0.0, 1.0]
        return calibration.of_confidence(outputs.scores, hits, bins, confidence)

    def paired(self, boot: TokenBootstrap, first: str, second: str) -> dict[str, Any]:
        """Compare two models alone, see `token_significance.paired`."""
        return token_significance.paired(boot, first, second)

    def compared(self, boot: TokenBootstrap, pairs: Sequence[tuple[str, str]]) -> dict[str, dict[str, Any]]:
        """Compare models jointly, see `token_significance.compared`."""
        return {
            pair: {key.replace("log_loss", "log_loss_scaled"): value for key, value in own.items()}
            for pair, own in token_significance.compared(boot, pairs).items()
        }

    def retention(
        self,
        boot: TokenBootstrap,
        splits: Mapping[str, Rows],  # noqa: ARG002
        result: Mapping[str, Any],  # noqa: ARG002
    ) -> dict[str, Any]:
        """Return the student's entity F1, macro F1 and token accuracy over the teacher's."""
        return boot.ratios("student", "teacher", token_significance.COMPARED)

    def agree(self, result: dict[str, Any], best: str | None, confidence: float) -> None:  # noqa: ARG002
        """Extend the interval of the kept entity F1 to 1 if the page's test does not tell the two apart."""
        multiple_comparisons.agree(result, "entity_f1", confidence)

    def tables(self, evaluation: Evaluation) -> dict[str, Table]:
        """Return per_type.csv, confusion.csv and errors.csv."""
        return token_tables.tables(self.spec, evaluation)

    def plots(self, evaluation: Evaluation) -> dict[str, Table]:
        """Return F1 per type of each transformer."""
        return token_tables.plots(self.spec, evaluation)

    def draw(self, folder: Path, evaluation: Evaluation) -> None:
        """Draw F1 per type, and how the words of types are confused."""
        from baton.evaluate.report import class_plots  # matplotlib, which the gate does not need

        f1 = {name: evaluation.bootstrap.per_class(name)["f1"] for name in evaluation.drawn}
        class_plots.per_class_f1(folder / "per_type_f1.png", evaluation.names, f1, "entity types")
        names = [*self.spec.names, token_tables.NONE]
        for name in ("teacher", "student"):
            counts = token_outputs.confusion(self.spec, evaluation.test.targets, evaluation.outputs[name])
            class_plots.confusion(folder / f"confusion_{name}.png", f"{name}, words", names, counts)

    def summary(self, models: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], dict[str, list[str]]]:
        """Return columns and cells of the terminal's table."""
        return token_tables.summary(models)

    def _f1(self, counted: NDArray[np.float64]) -> float:
        hit, both = counted.sum(axis=0)
        return float(2 * hit / both) if both else 0.0
