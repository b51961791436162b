"""Write a trainer as version 0.1 saves it, and what it computes, to `tests/trainers/saved/`.

Do not run it again: the file stands for those that users have. Version 0.1 is commit 3e9690a.
"""

from pathlib import Path

import keras
import numpy as np

from keras_ssl import augment, data, layers, optimizers, trainers

FOLDER = Path(__file__).resolve().parents[1] / "trainers" / "saved"


def main():
    keras.utils.set_random_seed(0)
    images, labels = next(iter(data.load_images("fashion_mnist_mini", "train").batch(64)))
    images, labels = images.numpy(), labels.numpy()
    encoder = keras.Sequential(
        [
            keras.layers.Input((None, None, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3, strides=2),
            layers.SyncBatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    trainer = trainers.DINO(
        encoder,
        layers.ProjectionHead((16, 8), l2_normalize=True),
        layers.Prototypes(16),
        augment.MultiCropViews(28, 14, local_count=2, seed=0),
        momentum=optimizers.cosine_momentum(0.9, steps=8),
        freeze_steps=1,
    )
    trainer.compile(keras.optimizers.SGD(0.1, momentum=0.9), probe=trainers.OnlineProbe(10))
    trainer.fit(images, labels, batch_size=32, epochs=2, verbose=0)
    trainer.save(FOLDER / "dino_0_1.keras")
    np.savez(
        FOLDER / "dino_0_1.npz",
        features=trainer.predict(images[:8], verbose=0),
        teacher=trainer.teacher_encoder.predict(images[:8], verbose=0),
    )


if __name__ == "__main__":
    main()
