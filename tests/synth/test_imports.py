"""The instrument needs NumPy, SciPy and Numba, but neither Ray nor TensorFlow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import synthray.synth


def test_import_of_synth_loads_neither_ray_nor_tensorflow() -> None:
    folder = Path(synthray.synth.__file__).parents[2]
    files = (folder / "synthray/synth").rglob("[!_]*.py")
    modules = [".".join(file.relative_to(folder).with_suffix("").parts) for file in files]
    assert len(modules) >= 20
    script = f"import sys, {', '.join(modules)}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(finished.stdout.split())
    assert "numba" in loaded
    assert not loaded & {"ray", "tensorflow", "keras", "pyarrow", "boto3", "torch", "jax"}
