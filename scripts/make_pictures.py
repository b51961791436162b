"""Make the pictures of docs/pictures.md, from a SimCLR run of a few minutes on CPU.

python scripts/make_pictures.py
"""

import argparse
from pathlib import Path

import keras

from keras_ssl import (
    augment,
    callbacks,
    data,
    evaluate,
    layers,
    losses,
    networks,
    trainers,
    visualize,
)

DATASET = "fashion_mnist_mini"
FOLDER = Path(__file__).resolve().parents[1] / "docs" / "images"

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=12)
parser.add_argument("--images", type=int, default=2048)
parser.add_argument("--folder", type=Path, default=FOLDER)
arguments = parser.parse_args()
keras.utils.set_random_seed(0)

train = data.load_images(DATASET, f"train[:{arguments.images}]").batch(arguments.images)
test = data.load_images(DATASET, "test[:1000]").batch(1000)
(x, y), (test_x, test_y) = (next(iter(one)) for one in (train, test))
names = data.class_names(DATASET)

views = augment.SimCLRViews(28, seed=0)
encoder = networks.small_resnet((28, 28, 1), width=16)
projector = layers.ProjectionHead((128, 64), last_normalization=True)
trainer = trainers.SimCLR(encoder, projector, views, losses.NTXent(0.2))
steps = arguments.epochs * (arguments.images // 128)
rate = keras.optimizers.schedules.CosineDecay(
    0.0, steps, warmup_target=3e-3, warmup_steps=steps // 8
)
trainer.compile(keras.optimizers.AdamW(rate), probe=trainers.OnlineProbe(len(names)))
history = trainer.fit(
    x.numpy(),
    y.numpy(),
    batch_size=128,
    epochs=arguments.epochs,
    callbacks=[callbacks.CollapseMonitor(test_x.numpy())],
    verbose=2,
)
history.history["learning_rate"] = [
    float(rate((epoch + 1) * steps // arguments.epochs)) for epoch in range(arguments.epochs)
]

crops = augment.MultiCropViews(28, 14, local_count=4, seed=0)
features, _ = evaluate.extract_features(encoder, test_x.numpy())
pictures = {
    "views": lambda path: visualize.plot_views(
        test_x[:8], views(test_x[:8], training=True), path=path
    ),
    "crops": lambda path: visualize.plot_views(
        test_x[:8], crops(test_x[:8], training=True), path=path
    ),
    "history": lambda path: visualize.plot_history(history, path=path),
    "neighbors": lambda path: visualize.plot_neighbors(
        test_x, features, [5, 100, 200, 300, 400, 500], 8, test_y, names, path=path
    ),
    "points": lambda path: visualize.plot_embedding(features, test_y, names, path=path),
}
for name, plot in pictures.items():
    plot(arguments.folder / f"{name}.png")
    print(arguments.folder / f"{name}.png")
