import tempfile
from pathlib import Path

import rsatoolbox

from sklearn_rdm.io import to_rsatoolbox, write_rdms

folder = Path(tempfile.mkdtemp())
for ending in ("mat", "csv"):
    write_rdms(folder / f"predicted.{ending}", rdm, image_names=names)
to_rsatoolbox(rdm, image_names=names).save(str(folder / "predicted.h5"), file_type="hdf5")
print(*sorted(path.name for path in folder.iterdir()))
theirs = rsatoolbox.rdm.load_rdm(str(folder / "predicted.h5"))
print(theirs.n_cond, list(theirs.pattern_descriptors["image"][:3]))
