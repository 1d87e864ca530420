"""Fine-tune the published base model to answer in chat format, and to stop.

In: `gpt-oss/NAME` (the published base), the conversations that ship with the project, the JSON lines files that match
`instruct.data`, and the documents in the folders `instruct.documents`.
Out: `models/instruct/merged` (float32, with its tokenizer), `adapter` (not for `full`), `conversations.json` (what was
read, rejected, truncated and held out) and `reports/plots/instruct.csv`. A killed run continues, with the same bytes.
Errors: a missing base or a pattern that matches nothing is `UserError`; files with too many bad lines, a chat template
that marks no assistant tokens, and a diverging loss are `DataError`. Bad lines are skipped, counted and listed.
References: LoRA (Hu et al. 2021) on all linear layers, loss on the assistant's tokens alone (Wang et al. 2023, Tülu);
with `instruct.preference`, direct preference optimization (Rafailov et al. 2023) follows.
"""

from __future__ import annotations

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import atomic_folder, write_json
from gptoss.finetune.examples import make_examples
from gptoss.finetune.preference_pairs import read_preferences
from gptoss.tracking.mlflow_run import StageRun
from gptoss.tracking.runner import Metrics, run_stage


def instruct(settings: Settings, run: StageRun) -> Metrics:
    """Read, encode, train, merge, write. Returns counts and losses before and after training."""
    from gptoss.finetune import adapters, records, training
    from gptoss.finetune.conversations import read_corpus
    from gptoss.finetune.fine_tuning import fine_tune

    config, seed = settings.instruct, settings.seed
    # The published float16 weights, not the float32 training state: the adapter is trained for what users load.
    base_folder = paths.published(settings.name, "base")
    training.prepare_process()
    base, tokenizer = adapters.load_base(base_folder, config)
    special_tokens = adapters.special_token_texts(tokenizer)
    corpus = read_corpus(config.data, config.documents, special_tokens)
    preferences = read_preferences(config, tokenizer, special_tokens)
    examples = make_examples(
        tokenizer, corpus.conversations, max_length=config.max_length, fraction=config.held_out_fraction, seed=seed
    )
    records.print_rejected(corpus, preferences)

    result = fine_tune(base, tokenizer, examples, preferences, config, run, seed=seed, corpus_digest=corpus.digest)
    record = records.training_record(config, corpus, examples, preferences, result)
    with atomic_folder(paths.INSTRUCT) as folder:
        adapters.save(result.model, tokenizer, base_folder, folder, config)
        write_json(folder / "conversations.json", record)
    records.write_curve(result.points)
    return records.metrics(corpus, examples, result)


if __name__ == "__main__":
    run_stage(instruct, "instruct")
