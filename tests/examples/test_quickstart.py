import keras
import pytest

import keras_ssl  # noqa: F401 - registers what the saved encoder is made of
from tests.examples.run import run

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="trainers need the TensorFlow backend"
)


def test_trains_measures_and_saves(tmp_path):
    printed = run(
        *("quickstart.py", "--images", "512", "--epochs", "1", "--output", "out"), cwd=tmp_path
    )
    for row in ("encoder", "random encoder", "raw pixels"):
        assert f"\n| {row} " in printed
    header, _, *rows = printed[printed.index("| encoder            | seeds |") :].splitlines()[:5]
    assert header.split("|")[3:5] == ["   NMI ", " anomaly AUROC "]
    found = {row.split("|")[1].strip(): list(map(float, row.split("|")[2:5])) for row in rows}
    assert list(found) == ["encoder", "encoder, untrained", "raw pixels"]
    for seeds, nmi, auroc in found.values():
        assert seeds == 1 and 0.2 < nmi < 0.8 and 0.7 < auroc < 1
    assert str(tmp_path / "out") in printed
    for picture in ("views.png", "embedding.png", "curves.png"):
        assert (tmp_path / "out" / picture).stat().st_size > 10_000

    encoder = keras.saving.load_model(tmp_path / "out" / "encoder.keras")
    images = keras.random.uniform((4, 28, 28, 1), maxval=255)
    features = keras.ops.convert_to_numpy(encoder(images))
    assert features.shape == (4, encoder.output_shape[-1])
    assert features.std(axis=0).max() > 0
