import re

import numpy as np
import pytest

from sklearn_rdm._pairs._options import check_option


@pytest.mark.parametrize("options", [("one", None), ["one", None], {"one": 1, None: 2}])
def test_options_pass_and_all_else_is_refused_with_their_list(options):
    check_option("kind", "one", options)
    check_option("kind", None, options)
    for wrong in ("two", 1, ["one"], np.array(["one", "one"])):
        message = f"kind must be one of ['one', None], got {wrong!r}."
        with pytest.raises(ValueError, match=re.escape(message)):
            check_option("kind", wrong, options)
