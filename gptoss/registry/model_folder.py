"""A published folder as an MLflow model by reference: the weights are hard links, so no byte is stored twice.

MLflow's `log_model` would copy the checkpoint. Instead, the folder is laid out among the artifacts of the run in the
way that MLflow's `transformers` flavor expects (`MLmodel`, `model/`, `components/tokenizer/`). The links keep the bytes
when a later run replaces the published folder.

References: https://mlflow.org/docs/latest/model (MLmodel format).
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
from gptoss.tokenizer.folder import tokenizer_files
from gptoss.tracking.mlflow_run import MlflowRun

# What MLflow's loader of the flavor imports.
REQUIREMENTS = ("mlflow", "torch", "transformers", "accelerate")


def build(run: MlflowRun, name: str, folder: Path) -> str:
    """Lay out the MLflow model of `folder` among the artifacts of `run`; returns its URI for the registry."""
    artifacts: str = run.client.get_run(run.run_id).info.artifact_uri
    local = local_path(artifacts)
    # A remote artifact store needs one upload: a reference would point into this machine.
    target = (local or run.state) / name
    with atomic_folder(target) as partial:
        _link_tree(folder, partial / "model")
        _describe(partial, name, folder, run.run_id)
    if local is not None:
        return target.as_uri()
    run.client.log_artifacts(run.run_id, str(target), name)
    return f"{artifacts}/{name}"


def local_path(uri: str) -> Path | None:
    """Return the path of a `file:` URI or plain path, None for any other store."""
    parsed = urlparse(uri)
    return Path(url2pathname(parsed.path)) if parsed.scheme in ("", "file") else None


def _link_tree(source: Path, target: Path) -> None:
    for path in sorted(source.rglob("*")):
        if path.is_dir():
            continue
        destination = target / path.relative_to(source)
        destination.parent.mkdir(parents=True, exist_ok=True)
        try:
            # DVC may have put a symbolic link into the folder; a link to it would dangle once DVC's cache is cleaned.
            os.link(path.resolve(), destination)
        except OSError:  # another file system: only a copy can keep the bytes
            shutil.copyfile(path, destination)


def _describe(target: Path, name: str, folder: Path, run_id: str | None) -> None:
    """Add `MLmodel` with the flavors `transformers` and `python_function`, the tokenizer component, the signature."""
    from mlflow.models import Model
    from mlflow.transformers.flavor_config import build_flavor_config_from_local_checkpoint

    # Twice, as links: the flavor expects the tokenizer in a folder of its own, transformers beside the weights.
    components = target / "components" / "tokenizer"
    components.mkdir(parents=True)
    for path in tokenizer_files(target / "model"):
        os.link(path, components / path.name)
    signature.copy_beside(folder, target)
    requirements = [f"{package}=={version(package)}" for package in REQUIREMENTS]
    (target / "requirements.txt").write_text("\n".join(requirements) + "\n")
    flavor: dict[str, Any] = build_flavor_config_from_local_checkpoint(str(folder), task="text-generation")
    flavor["torch_dtype"] = "torch.float16"  # MLflow passes it to `from_pretrained`
    # The second flavor lets `mlflow models serve` and `mlflow.pyfunc` load the version without knowing transformers.
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
