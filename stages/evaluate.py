"""Measure what is published: held-out bits per byte, benchmark suites, and examples of what the model writes.

In: the published folder `gpt-oss/NAME[-instruct]`, the frozen items `data/benchmarks`, the token shards
`data/shards`, `evals/` (suites, tasks, published figures) and, if decontamination has run, its list of benchmark items
that were found in the training text.
Out: `data/evaluations/VARIANT`: `scores.json` (bits per byte with n-gram baselines, a row per task with standard error,
protocol and published figure, and every task that was not run with the reason), `samples.jsonl` (every evaluated item),
`generations.json`. A killed evaluation continues after its last finished step.
Errors: a missing model or missing items are `UserError`; items or shards that differ from their checksums are
`DataError`.
References: lm-evaluation-harness (Gao et al. 2021) for the suites; see the modules of `gptoss/evaluate` for the rest.
"""

from __future__ import annotations

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.eval_items.frozen_index import read_index
from gptoss.eval_items.suites import load_suite
from gptoss.evaluate.step_cache import StepCache
from gptoss.tracking.mlflow_run import StageRun
from gptoss.tracking.runner import Metrics, run_stage


def evaluate(settings: Settings, run: StageRun, variant: str) -> Metrics:
    """Evaluate one published variant, base or instruct. Returns bits per byte and the score of every task."""
    from gptoss.evaluate import bits_per_byte, generations, harness, outputs, safety
    from gptoss.evaluate.published_model import load
    from gptoss.evaluate.suite_run import run_suite

    config, cache = settings.evaluate, StepCache(run.state)
    with cache.timed("loading"):
        index = read_index()
        model = load(paths.published(settings.name, variant))
        # Encoded before anything is measured, so that a prompt that is too long fails at once.
        prompts = generations.encode_all(model, variant, config.prompts, config.questions, config.max_new_tokens)
        lm = harness.language_model(model, config.batch_size)

    # Each step is kept when it is finished: a benchmark of a large model takes hours.
    bits = cache.once("bits_per_byte", lambda: bits_per_byte.measure(model, config.ngram_baseline_bytes))
    suites = [run_suite(lm, load_suite(name), index, config, cache) for name in config.suites]
    texts = cache.once("generations", lambda: generations.generate(model, prompts, config.max_new_tokens))
    # The base model was never taught to refuse.
    refusals = cache.once("safety", lambda: safety.measure(model)) if variant == "instruct" else None

    folder = paths.evaluation(variant)
    scores = outputs.make_scores(variant, config, model.arithmetic, bits, suites, refusals)
    outputs.write(folder, scores, suites, texts)
    outputs.log(run, folder, suites, cache.seconds)
    return outputs.metrics(bits, suites)


if __name__ == "__main__":
    run_stage(evaluate, "evaluate", keys=lambda _: paths.VARIANTS)
