"""Makes `import torchaudio` work beside a CPU build of torch.

torchaudio's wheel on PyPI is linked to CUDA; without CUDA its shared objects fail to load and
take pyannote and parts of transformers with them. Its Python parts, all we use, work without.
`make setup` runs this once; on a machine whose torch has CUDA nothing is touched.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path


def remove_cuda_objects() -> list[str]:
    """Delete torchaudio's shared objects if torch has no CUDA; returns the deleted names."""
    import torch

    if torch.version.cuda is not None:
        return []
    try:
        library = Path(str(metadata.distribution("torchaudio").locate_file("torchaudio/lib")))
    except metadata.PackageNotFoundError:
        return []
    removed = sorted(library.glob("*.so"))
    for path in removed:
        path.unlink()
    return [path.name for path in removed]


if __name__ == "__main__":
    for name in remove_cuda_objects():
        print(f"torch has no CUDA here: removed torchaudio's CUDA-linked {name}")
