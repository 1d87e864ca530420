"""A published folder as an MLflow model, by reference: the weights are hard links, so no byte is stored twice.

MLflow's `log_model` copies the checkpoint first. Here the model folder is laid out as MLflow's `transformers`
flavor expects it (`MLmodel`, `model/`, `components/tokenizer/`) in the artifact folder of the run. The links keep
the bytes alive when a later run replaces the published folder.
"""

from __future__ import annotations

import os
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from gptoss.core.atomic_files import atomic_folder
from gptoss.registry import signature
from gptoss.tracking.mlflow_run import MlflowRun

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
REQUIREMENTS = ("mlflow", "torch", "transformers", "accelerate")


def build(run: MlflowRun, name: str, folder: Path) -> str:
    """Lay out the MLflow model of `folder` among the artifacts of `run`; returns its source URI for the registry."""
    root = run.client.get_run(run.run_id).info.artifact_uri
    parsed = urlparse(root)
    if parsed.scheme not in ("", "file"):
        return _remote(run, name, folder, root)
    target = Path(url2pathname(parsed.path)) / name
    with atomic_folder(target) as partial:
        _link_tree(folder, partial / "model")
        _describe(partial, name, folder, run.run_id)
    return target.as_uri()


def _remote(run: MlflowRun, name: str, folder: Path, root: str) -> str:
    """An artifact store elsewhere gets one upload: a reference would point into this machine."""
    with atomic_folder(run.state / name) as partial:
        _link_tree(folder, partial / "model")
        _describe(partial, name, folder, run.run_id)
    run.client.log_artifacts(run.run_id, str(run.state / name), name)
    return f"{root}/{name}"


def _link_tree(source: Path, target: Path) -> None:
    for path in sorted(source.rglob("*")):
        if path.is_dir():
            continue
        destination = target / path.relative_to(source)
        destination.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path.resolve(), destination)
        except OSError:  # another file system: there a copy is the only way to keep the bytes
            shutil.copyfile(path, destination)


def _describe(target: Path, name: str, folder: Path, run_id: str | None) -> None:
    """Write `MLmodel` with the flavors `transformers` and `python_function`, and link the tokenizer as component."""
    from mlflow.models import Model
    from mlflow.transformers.flavor_config import build_flavor_config_from_local_checkpoint

    for file in TOKENIZER_FILES:
        if (folder / file).exists():
            (target / "components" / "tokenizer").mkdir(parents=True, exist_ok=True)
            os.link(target / "model" / file, target / "components" / "tokenizer" / file)
    signature.copy_beside(folder, target)
    requirements = [f"{package}=={version(package)}" for package in REQUIREMENTS]
    (target / "requirements.txt").write_text("\n".join(requirements) + "\n")
    flavor: dict[str, Any] = build_flavor_config_from_local_checkpoint(str(folder), task="text-generation")
    flavor["torch_dtype"] = "torch.float16"
    model = Model(artifact_path=name, run_id=run_id)
    model.add_flavor("transformers", transformers_version=version("transformers"), code=None, **flavor)
    model.add_flavor(
        "python_function",
        loader_module="mlflow.transformers",
        model_binary="model",
        env={"virtualenv": "python_env.yaml"},
    )
    (target / "python_env.yaml").write_text("python: '3.11'\ndependencies:\n- -r requirements.txt\n")
    model.save(str(target / "MLmodel"))
