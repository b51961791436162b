"""Learn from unlabelled images in a few minutes on a laptop, and see what the features are worth.

    python examples/quickstart.py

A small convolutional network learns from 10,000 images of Fashion-MNIST (they come with the
package) by SimCLR: it never sees a label. Then its features, those of an untrained network and the
raw pixels are compared: by their nearest neighbours, by a linear classifier with all labels and
with 10 labels per class, by how well clusters agree with classes, and by how well one class is told
from the rest.
"""

import argparse
import sys
from pathlib import Path

import keras

from keras_ssl import (
    augment,
    callbacks,
    data,
    distribute,
    evaluate,
    layers,
    losses,
    networks,
    trainers,
    visualize,
)

DATASET = "fashion_mnist_mini"

parser = argparse.ArgumentParser(
    description="SimCLR on Fashion-MNIST.", formatter_class=argparse.ArgumentDefaultsHelpFormatter
)
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--batch-size", type=int, default=128)
parser.add_argument("--images", type=int, default=10_000, help="how many to train on")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--output", type=Path, default=Path("runs/quickstart"), help="folder")
parser.add_argument("--strategy", choices=distribute.STRATEGIES, default="auto", help="devices")
arguments = parser.parse_args()
strategy = distribute.devices(arguments.strategy, seed=arguments.seed)  # first of all

# Data: images without labels to learn from; labels only to measure
train = data.load_images(DATASET, f"train[:{arguments.images}]")
test = data.load_images(DATASET, "test")
images = train.map(lambda image, label: image).cache().shuffle(arguments.images)
batches = images.batch(arguments.batch_size, drop_remainder=True).prefetch(2)

# Encoder: any Keras model from images to features. Pooling keeps a grid of 2x2, for where things
# are says much about clothes.
with strategy.scope():
    backbone = networks.small_resnet((None, None, 1), width=32)
    feature_map = backbone.get_layer("stage3_block1_output").output
    x = keras.layers.AdaptiveAveragePooling2D((2, 2))(feature_map)
    x = keras.layers.Flatten()(x)
    x = layers.SyncBatchNormalization(momentum=0.9, epsilon=1e-3)(x)
    encoder = keras.Model(backbone.input, x, name="encoder")

# Method: two views of each image shall have features alike, and unlike those of other images
steps = len(batches) * arguments.epochs
schedule = keras.optimizers.schedules.CosineDecay(
    0.0, steps - steps // 10, warmup_target=2e-3, warmup_steps=steps // 10
)
with strategy.scope():
    trainer = trainers.SimCLR(
        encoder,
        projector=layers.ProjectionHead((256, 64)),
        augment=augment.SimCLRViews(20, scale=(0.3, 1.0), blur_probability=0.0),
        loss=losses.NTXent(temperature=0.1),
    )
    trainer.compile(optimizer=keras.optimizers.AdamW(schedule, weight_decay=1e-4))
history = trainer.fit(
    batches,
    epochs=arguments.epochs,
    callbacks=[
        callbacks.CollapseMonitor(test.batch(256)),
        # on a part of the images, so that watching costs little
        callbacks.KNNCallback(train.take(2000).batch(256), test.take(1000).batch(256)),
    ],
)

if not distribute.is_chief(strategy):
    sys.exit()  # with several workers, the first does the rest

# Product: the encoder, pictures, and what the features are worth
output = arguments.output
output.mkdir(parents=True, exist_ok=True)
encoder.save(output / "encoder.keras")

some_images, _ = next(iter(test.batch(8)))
some_views = trainer.augment(some_images, training=True)
visualize.plot_views(some_images, some_views, path=output / "views.png")
features, labels = evaluate.extract_features(encoder, test.batch(256))
names = data.class_names(DATASET)
visualize.plot_embedding(features, labels, names, path=output / "embedding.png")
visualize.plot_history(history, path=output / "curves.png")

print(evaluate.representation_report(encoder, train.batch(256), test.batch(256)))
# without labels: clusters beside the classes, and each class told from the rest by neighbours
print(
    evaluate.compare(
        {"encoder": encoder}, train.batch(256), test.batch(256), ["clustering", "anomalies"]
    )
)
print(f"The encoder and three pictures are in {output.resolve()}")
