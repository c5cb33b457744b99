import rsatoolbox

from sklearn_rdm.io import from_rsatoolbox

as_stored = from_rsatoolbox(rsatoolbox.rdm.load_rdm(str(path)))
matched = from_rsatoolbox(rsatoolbox.rdm.load_rdm(str(path)), image_names=data.image_names)
print("first in the file: ", as_stored.image_names[:3])
print("first as asked for:", matched.image_names[:3])
