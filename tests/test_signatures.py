"""Arguments and defaults of public objects, as they stand in a file that a script writes."""

import runpy
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).resolve().parents[1]
script = runpy.run_path(str(ROOT / "scripts" / "public_signatures.py"))


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="trainers need the TensorFlow backend"
)
def test_no_argument_or_default_has_changed():
    now, before = script["signatures"](), script["read"]()
    changed = {
        name: (before.get(name), one) for name, one in now.items() if one != before.get(name)
    }
    removed = sorted(set(before) - set(now))
    assert not changed and not removed, "if this is meant, run scripts/public_signatures.py"
